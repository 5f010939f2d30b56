"""Are numbers written as people read them?"""

import pytest

from sojourn.readable import count, number, rate, seconds, share, size


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (count(None), "-"),
        (count(12_345), "12,345"),
        (count(1_000_000), "1 M"),
        (count(1_234_567), "1.23 M"),
        (count(2_500_000_000), "2.5 G"),
        (rate(0.25), "0.2/s"),
        (rate(1_234.5), "1,234/s"),
        (seconds(None), "-"),
        (seconds(0), "0 s"),
        (seconds(0.00012), "120 us"),
        (seconds(0.0042), "4.2 ms"),
        (seconds(3.14159), "3.14 s"),
        (seconds(59.7), "59.7 s"),
        (seconds(125), "2 min 5 s"),
        (seconds(3_780), "1 h 3 min"),
        (number(-12_139.4), "-12,139"),
        (number(0.123456), "0.1235"),
        (share(0.126), "13 %"),
        (size(300), "0.3 KB"),
        (size(45_400), "45 KB"),
        (size(1_234_567), "1.2 MB"),
        (size(3_400_000_000), "3.4 GB"),
    ],
)
def test_numbers_are_written_for_people(written, text):
    assert written == text
