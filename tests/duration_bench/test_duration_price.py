"""What a weight costs is measured through a service in a process of its own, and put on the page."""

from sojourn.bench.price import BEGIN, END, TABLES, Price, append, prices, write


def test_every_rule_has_a_price_that_is_near_one():
    found = list(prices(turns=1, slices=1, batches=100))

    assert [price.rule for price in found] == list(TABLES)[1:]
    assert all(0.1 < price.median < 10.0 and price.batch_ms > 0.0 for price in found)


def test_the_page_says_what_is_too_dear(tmp_path):
    page, results = tmp_path / "duration.md", tmp_path / "results" / "price.jsonl"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    cheap, dear = Price("window", (1.01, 1.02, 1.09), 0.5), Price("pool", (1.04, 1.06, 1.2), 0.6)
    append(results, cheap)
    write(page, [cheap, dear])

    text = page.read_text()
    assert "| window | 1.020 | 1.010, 1.090 | 0.500 |  |" in text
    assert "| pool | 1.060 | 1.040, 1.200 | 0.600 | **above 5 %** |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert '"median": 1.02' in results.read_text()
