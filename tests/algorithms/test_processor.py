"""Whoever multiplies float32 matrices does it in float32."""

import torch

from sojourn.algorithms.processor import choose_products, products


def test_products_keep_what_bfloat16_would_lose():
    before = torch.backends.mkldnn.matmul.fp32_precision
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 256, 256, generator=generator) for _ in range(2))
    try:
        assert choose_products() == choose_products() == products()
        worst = ((a @ b).double() - a.double() @ b.double()).abs().max()
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert worst < 1e-3  # 0.2 in bfloat16
