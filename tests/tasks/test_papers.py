from tasks.papers import papers
from tasks.registry import load


def test_papers_are_numbered_once_each_and_complete():
    assert [paper.paper for paper in papers()] == list(range(1, 228))
    assert all(paper.title and paper.family and paper.benchmark for paper in papers())
    assert {tier: sum(paper.tier == tier for paper in papers()) for tier in "ABCD"} == {"A": 47, "B": 117, "C": 46, "D": 17}


def test_every_registered_paper_number_exists():
    registry = load()
    numbers = {paper.paper for paper in papers()}
    cited = {cls.paper for cls in registry.methods.values() if cls.paper is not None} | {claim.paper for claim in registry.claims.values()}
    assert cited
    assert cited <= numbers


def test_fields_with_commas_and_quotes_survive():
    paper = next(paper for paper in papers() if paper.paper == 46)
    assert paper.title == "Sharpness-Aware Minimization for Efficiently Improving Generalization"
    assert paper.benchmark.startswith("SAM vs SGD on digits with 0-60% label noise; test accuracy, lambda_max.")
