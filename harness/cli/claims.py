"""`assay claims [FAMILY]`: is what the papers say true here?"""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, FormatOption, check_format, open_ledger, print_document, stderr
from harness.cli.filters import SinceOption, TagOption, WhereOption, filter_of


def register(app: typer.Typer) -> None:
    app.command()(claims)


def claims(
    family: Annotated[str, typer.Argument(help="A family; all families with claims by default.")] = "",
    explain: Annotated[str, typer.Option(help="Print the data, the test and the SQL of one claim.")] = "",
    output: FormatOption = "terminal",
    everything: Annotated[bool, typer.Option("--all", help="Also list the claims that are not attempted, on the terminal.")] = False,
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    record: Annotated[bool, typer.Option("--record/--no-record", help="Keep the verdicts in the ledger (never those of a filter).")] = True,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Decide the papers' claims from the ledger's results and print the verdicts."""
    from reports.anchors import anchor
    from reports.claims.page import claims_document, explanation, find, paper_titles, verdict_table
    from reports.claims.verdicts import decide, families_with_claims
    from reports.document import Document, Section
    from reports.questions import each

    check_format(output)
    only = filter_of(where, tag, since)
    record = record and not only
    with open_ledger(db, read_only=not record) as ledger:
        families = [family] if family else families_with_claims(ledger)
        if not families:
            stderr().print("The ledger knows no claims yet; a run writes those of its families.")
        decided = each(families, lambda name: decide(ledger, name, only))
        titles = paper_titles(ledger) if explain else {}
        if record:
            ledger.record_verdicts([one.row() for group in decided.values() for one in group])
    if only:
        stderr().print(f"Only results with {only.text}; these verdicts are not kept.", markup=False)
    if explain:
        chosen = find([one for group in decided.values() for one in group], explain)
        document = Document(f"Claim {explain}", (explanation(chosen, titles.get(chosen.definition.paper, "")),))
    elif family:
        document = claims_document(family, decided[family])
    else:
        sections = tuple(
            Section(name, (ident := anchor("claims", name)), (verdict_table(group, ident, name),)) for name, group in decided.items()
        )
        document = Document("Claims", sections)
    print_document(document, output, everything)
    if explain and output == "terminal":
        stderr().print(f"{len(set(chosen.trials))} trials; `-f json` lists their keys.", markup=False)
