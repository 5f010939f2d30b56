from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Manifest(_message.Message):
    __slots__ = ("policy_version", "learner_step", "env_steps", "total_bytes", "sha256", "run_id", "algorithm", "age_s", "contract_version")
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    LEARNER_STEP_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    policy_version: int
    learner_step: int
    env_steps: int
    total_bytes: int
    sha256: bytes
    run_id: str
    algorithm: str
    age_s: float
    contract_version: int
    def __init__(self, policy_version: _Optional[int] = ..., learner_step: _Optional[int] = ..., env_steps: _Optional[int] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., run_id: _Optional[str] = ..., algorithm: _Optional[str] = ..., age_s: _Optional[float] = ..., contract_version: _Optional[int] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("manifest", "chunk")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    manifest: Manifest
    chunk: bytes
    def __init__(self, manifest: _Optional[_Union[Manifest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class PublishReply(_message.Message):
    __slots__ = ("policy_version",)
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    policy_version: int
    def __init__(self, policy_version: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("client_id", "after_version", "contract_version", "run_id")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    after_version: int
    contract_version: int
    run_id: str
    def __init__(self, client_id: _Optional[str] = ..., after_version: _Optional[int] = ..., contract_version: _Optional[int] = ..., run_id: _Optional[str] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("manifest", "chunk")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    manifest: Manifest
    chunk: bytes
    def __init__(self, manifest: _Optional[_Union[Manifest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class LatestRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LatestReply(_message.Message):
    __slots__ = ("manifest", "watchers", "contract_version")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    WATCHERS_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    manifest: Manifest
    watchers: int
    contract_version: int
    def __init__(self, manifest: _Optional[_Union[Manifest, _Mapping]] = ..., watchers: _Optional[int] = ..., contract_version: _Optional[int] = ...) -> None: ...
