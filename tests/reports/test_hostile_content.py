"""Names and values that nobody expects: what they must not break, hide or run."""

from __future__ import annotations

from reports.params import fulfils, natural, plain


def test_digits_that_are_no_decimals_sort_as_text() -> None:
    assert sorted(["l2²", "l10²", "x½", "x1", "²"], key=natural) == sorted(["l2²", "l10²", "x1", "x½", "²"], key=natural)
    assert natural("bits=9") < natural("bits=10") < natural("bits=10²")


def test_params_that_differ_beyond_six_digits_are_told_apart() -> None:
    assert (plain(0.1234567), plain(0.1234568), plain(3.0), plain(1e-4)) == ("0.1234567", "0.1234568", "3", "0.0001")
    assert fulfils('{"lr":0.1234567}', "lr=0.1234567")
    assert not fulfils('{"lr":0.1234567}', "lr=0.123457")
