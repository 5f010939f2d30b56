"""How are numbers written for people? Counts, times and returns as short text. Pure."""


def count(value: float | None) -> str:
    """12,345 below a million, then 1.23 M."""
    if value is None:
        return "-"
    for limit, sign in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {sign}"
    return f"{value:,.0f}"


def rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"


def seconds(value: float | None) -> str:
    """120 us, 4.2 ms, 3.1 s, 2 min 5 s, 1 h 3 min."""
    if value is None:
        return "-"
    if 0 < value < 1e-3:
        return f"{value * 1e6:.0f} us"
    if 0 < value < 1:
        return f"{value * 1e3:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(value: float | None) -> str:
    """A return or another plain number: four digits, thousands apart."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size(size_bytes: int) -> str:
    """0.3 KB, 45 KB, 1.2 MB, 3.4 GB."""
    value = size_bytes / 1e3
    for unit in ("KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
