"""Content keys: what is in them, what stays out."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.identity import canonical_json, content_key, trial_key, trial_keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
IDENTITY = {
    "task": "toy/add",
    "task_version": 1,
    "task_params": {"a": 1, "b": 0.5},
    "method": "toy/one",
    "method_version": 2,
    "method_params": {},
    "seed": 3,
    "data_fingerprint": "abc",
    "protocol": 1,
}


@given(JSON)
def test_canonical_json_round_trips(value: object) -> None:
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(st.dictionaries(st.text(), JSON, min_size=2, max_size=5))
def test_key_order_does_not_matter(value: dict[str, object]) -> None:
    assert content_key(value) == content_key(dict(reversed(value.items())))


def test_non_finite_numbers_are_refused() -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": float("nan")})


def test_the_trial_key_is_sha256_of_a_fixed_text() -> None:
    """Keys are forever: this text may only change together with a migration of every ledger."""
    text = '{"data":"abc","method":["toy/one",2,{}],"protocol":1,"seed":3,"task":["toy/add",1,{"a":1,"b":0.5}]}'
    assert trial_key(**IDENTITY) == hashlib.sha256(text.encode()).hexdigest()


@given(JSON, st.text(), st.lists(st.integers(0, 2**62), max_size=3))
def test_trial_keys_are_content_keys_of_the_whole_identity(value: object, name: str, seeds: list[int]) -> None:
    rest = {**IDENTITY, "task_params": {"value": value}, "method": name, "data_fingerprint": name}
    del rest["seed"]
    whole = {"task": [rest["task"], 1, rest["task_params"]], "method": [name, 2, {}], "data": name, "protocol": 1}
    assert list(trial_keys(seeds, **rest)) == [content_key({**whole, "seed": seed}) for seed in seeds]


@pytest.mark.parametrize("name", IDENTITY)
def test_every_part_of_the_identity_changes_the_key(name: str) -> None:
    value = IDENTITY[name]
    other = {**value, "z": 1} if isinstance(value, dict) else value + 1 if isinstance(value, int) else f"{value}x"
    assert trial_key(**{**IDENTITY, name: other}) != trial_key(**IDENTITY)
