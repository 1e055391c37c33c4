"""The command line and the notebook as people use them: in a terminal, in a pipe, and with what goes wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import nbformat
import pandas as pd
import pytest
import yaml
from click.testing import Result
from nbclient import NotebookClient
from typer.testing import CliRunner

from clustering_assets.cli import app
from clustering_assets.contracts import CLUSTERING_FEATURES, SEGMENT_HISTORY
from clustering_assets.pseudonyms import hide_ids, pseudonym, record_ids, tables_with_customers, what_ids_are
from clustering_assets.synthetic import generate, write
from clustering_assets.warehouse import Warehouse, replace_period
from clustering_assets_tests.conftest import QUICK, Shop, make_shop

CHECKOUT = Path(__file__).parent.parent
FILES = 40
LINES_OF_A_RUN = 40
"""A person reads them from top to bottom."""


@dataclass(frozen=True)
class Deployment:
    """A folder with source, home and Dagster's own, and the command in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERING_")}
        return {
            **kept,
            "CLUSTERING_HOME": str(self.folder / "home"),
            "CLUSTERING_SOURCE_DIR": str(self.folder / "source"),
            "CLUSTERING_LOCK_WAIT": "0",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "COLUMNS": "120",
        }

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.folder / "home", lock_wait=0)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.warehouse.read() as backend:
            found: list[tuple[Any, ...]] = backend.con.execute(query, list(parameters)).fetchall()
        return found

    def ask(self, *arguments: str, typed: str | None = None, **settings: str) -> Result:
        """Run the command in this process."""
        here = {"CLUSTERING_PSEUDONYM_KEY": "", **self.environment, **settings}
        return CliRunner().invoke(app, arguments, env=here, input=typed)

    def answer(self, *arguments: str, **settings: str) -> Any:
        """Return what the command says as JSON."""
        done = self.ask(*arguments, "--json", **settings)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clustering_assets.cli", *arguments],
            capture_output=True,
            text=True,
            env={**self.environment, **settings},
            cwd=CHECKOUT,
            timeout=300,
        )

    def command_in_terminal(self, *arguments: str) -> tuple[int, str]:
        """Run the command where standard output and error are a terminal; return its status and what was shown."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "clustering_assets.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self.environment, "TERM": "xterm-256color"},
            cwd=CHECKOUT,
        )
        os.close(theirs)
        shown = bytearray()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the terminal is gone with the last program in it
                break
            if not part:
                break
            shown += part
        os.close(ours)
        return process.wait(), shown.decode()


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, str]:
    """A shop whose lines are in many files, after a first run in a terminal; and what the terminal showed."""
    folder = tmp_path_factory.mktemp("deployment")
    shop = make_shop(folder, customers=60, lines=1_500)
    [whole] = shop.source.iterdir()
    header, *lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    whole.unlink()
    for place in range(FILES):
        (shop.source / f"lines_{place:03}.csv").write_text(header + "".join(lines[place::FILES]), encoding="utf-8")
    (folder / "dagster").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", folder / "dagster")
    deployment = Deployment(folder)
    (folder / "quick.yaml").write_text(yaml.safe_dump(QUICK), encoding="utf-8")
    status, shown = deployment.command_in_terminal("run", "--config", str(folder / "quick.yaml"))
    assert status == 0, shown
    return deployment, plain(shown)


@pytest.fixture
def deployment(first: tuple[Deployment, str]) -> Deployment:
    return first[0]


# ------------------------------------------------------------------------------------------------------------ progress


def test_in_a_terminal_a_run_shows_each_layer_with_its_time_and_rows(first: tuple[Deployment, str]) -> None:
    deployment, shown = first
    with deployment.warehouse.read() as backend:
        rows = {
            layer: backend.con.execute(f"select count(*) from {layer}.{table}").fetchall()[0][0]
            for layer, table in (
                ("bronze", "order_lines"),
                ("silver", "customer_features"),
                ("gold", "customer_segments"),
            )
        }
    for layer, count in {**rows, "exports": 2 * rows["gold"]}.items():
        assert re.search(rf"✓ +{layer} +[\d.]+ s +{count:,} rows", shown), layer
    assert f"rows from {FILES} files" in shown
    while_silver = r"✓ +bronze[^\n]+rows[^\n]*\n[^✓\n]+silver +[\d.]+ s[^\n]*\n +gold *\r?\n"
    assert re.search(while_silver, shown), "it is seen while it happens, not when it is over"
    assert shown.index("✓") < shown.index("home: "), "the summary comes after the progress"


def test_the_log_of_a_run_over_many_files_is_read_from_top_to_bottom(deployment: Deployment) -> None:
    with dg.DagsterInstance.from_config(deployment.environment["DAGSTER_HOME"]) as instance:
        *_, run = instance.get_runs()  # the first one
        said = [entry.user_message for entry in instance.all_logs(run.run_id) if entry.dagster_event is None]
    with deployment.warehouse.read() as backend:
        ids = {each for (each,) in backend.con.execute("select customer_id from bronze.order_lines").fetchall()}
    assert 15 <= len(said) <= LINES_OF_A_RUN
    for step in ("files are to be read", f"read {FILES} of {FILES} files", "segments", "resamples", "map", ".xlsx"):
        assert any(step in line for line in said), step
    assert not [line for line in said if any(each in line for each in ids)]


def test_where_there_is_no_terminal_a_run_says_what_it_did_and_nothing_on_the_way(deployment: Deployment) -> None:
    done = deployment.command("run", "--json", "--config", str(deployment.folder / "quick.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said.keys() == {"home", "run_id", "changed", "seconds", "rows", "warnings"}
    assert not said["changed"], "it is the second time"
    for asset in ("bronze/order_lines", "silver/customer_features", "gold/customer_segments"):
        assert said["rows"][asset] == deployment.rows(f"select count(*) from {asset.replace('/', '.')}")[0][0]


@pytest.fixture(scope="module")
def second(first: tuple[Deployment, str], tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The same shop after another run, over other files: some customers are gone, others new."""
    deployment = Deployment(tmp_path_factory.mktemp("second") / "deployment")
    shutil.copytree(first[0].folder, deployment.folder)
    shop = Shop(deployment.folder / "source", deployment.folder / "home")
    gone = deployment.rows("select min(customer_id) from gold.customer_segments")[0][0]
    for path in shop.source.iterdir():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if gone not in line.lower()]
        path.write_text("".join(kept), encoding="utf-8")
    write(generate(12, 300, seed=5), deployment.folder / "more", "returns_export", "csv")
    for path in (deployment.folder / "more").iterdir():
        path.rename(shop.source / f"zz_{path.name}")
    assert shop.run().success
    return deployment


def customer_of(deployment: Deployment, condition: str = "segment_id >= 0") -> str:
    [(found,)] = deployment.rows(f"select min(customer_id) from gold.customer_segments where {condition}")
    return str(found)


# ------------------------------------------------------------------------------------------------------------ segments


def test_segments_are_those_of_the_tables(deployment: Deployment) -> None:
    said = deployment.answer("segments")
    assert [(each["segment_id"], each["name"], each["customers"]) for each in said["segments"]] == deployment.rows(
        """select segment_id, segment_name, customers from gold.segment_profiles
           order by segment_id = -1, customers desc, segment_id"""
    )
    shown = deployment.ask("segments").stdout
    assert [name for _, name in sorted((shown.index(each["name"]), each["name"]) for each in said["segments"])] == [
        each["name"] for each in said["segments"]
    ]


def test_a_segment_is_explained_by_its_tables(deployment: Deployment) -> None:
    for segment_id, name, action, customers in deployment.rows(
        "select segment_id, segment_name, recommended_action, customers from gold.segment_profiles"
    ):
        said = deployment.answer("explain", str(segment_id))
        assert (said["name"], said["action"], said["customers"]) == (name, action, customers)
        assert deployment.answer("explain", *name.upper().split()) == said
        medians = ", ".join(f"median({column.name})::double" for column in CLUSTERING_FEATURES)
        of_segment = "select customer_id from gold.customer_segments where segment_id = $1"
        [own] = deployment.rows(
            f"select {medians} from silver.customer_features where customer_id in ({of_segment})", [segment_id]
        )
        assert [each["median"] for each in said["figures"]] == pytest.approx(list(own), nan_ok=True)
        assert [each["feature"] for each in said["figures"]] == [column.name for column in CLUSTERING_FEATURES]
        assert said["saving"]["assumption"] in deployment.ask("explain", str(segment_id), COLUMNS="400").stdout


def test_parts_of_a_segment_are_counted(second: Deployment, tmp_path: Path) -> None:
    copy = Deployment(shutil.copytree(second.folder, tmp_path / "copy"))
    [(segment, customers)] = copy.rows(
        """select segment_id, count(*) from gold.customer_segments where segment_id >= 0
           group by 1 order by 2 desc limit 1"""
    )
    with copy.warehouse.connect() as backend:
        backend.con.execute(
            """update gold.customer_segments as s set sub_segment_id = place % 3 % 2
               from (select customer_id, row_number() over (order by customer_id) as place
                     from gold.customer_segments where segment_id = $1) as p where s.customer_id = p.customer_id""",
            [segment],
        )
    parts = copy.answer("explain", str(segment))["sub_segments"]
    assert [part["sub_segment_id"] for part in parts] == [0, 1]
    assert sum(part["customers"] for part in parts) == customers
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert "none: the segment" not in copy.ask("explain", str(segment)).stdout


def test_who_slips_in_a_name_is_told_which_there_are(deployment: Deployment) -> None:
    [(name, segment_id)] = deployment.rows(
        "select segment_name, segment_id from gold.segment_profiles order by customers desc limit 1"
    )
    slip = name[:3] + name[4:]
    done = deployment.ask("explain", slip)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"There is no segment {slip!r}. Is one of these meant: {name!r} ({segment_id})")
    for (each,) in deployment.rows("select segment_name from gold.segment_profiles"):
        assert each in deployment.ask("explain", "zzzz").stderr


# ------------------------------------------------------------------------------------------------------------ customer


def test_a_customer_is_in_a_segment_for_the_reasons_of_the_tables(deployment: Deployment) -> None:
    for condition in ("segment_id >= 0", "segment_id = -1", "confidence < 0.5"):
        customer_id = customer_of(deployment, condition)
        if customer_id == "None":
            continue
        said = deployment.answer("customer", customer_id)
        [(segment_id, confidence, score, *reasons, imputed)] = deployment.rows(
            """select s.segment_id, s.confidence, x.outlier_score, reason_1, reason_2, reason_3, i.imputed
               from gold.customer_segments s join gold.customer_reasons r using (customer_id)
               join gold.scaled_features x using (customer_id) join silver.imputed_features i using (customer_id)
               where customer_id = $1""",
            [customer_id],
        )
        assert (said["segment_id"], said["confidence"], said["outlier_score"]) == (segment_id, confidence, score)
        assert [each["feature"] for each in said["reasons"]] == [each.split(" ")[0] for each in reasons if each]
        assert {*said["imputed"]} == {*filter(None, imputed.split(";"))}
        names = [column.name for column in CLUSTERING_FEATURES]
        [(own, shop)] = deployment.rows(
            f"""select any_value([{", ".join(f"{name}::double" for name in names)}]) filter (customer_id = $1),
                       [{", ".join(f"median({name})::double" for name in names)}] from silver.customer_features""",
            [customer_id],
        )
        [(of_segment,)] = deployment.rows(
            f"""select [{", ".join(f"{name}_median" for name in names)}] from gold.segment_profiles
                where segment_id = $1""",
            [segment_id],
        )
        assert [each["feature"] for each in said["figures"]] == names
        for key, values in {"value": own, "shop_median": shop, "segment_median": of_segment}.items():
            assert [each[key] for each in said["figures"]] == values, key
        shown = deployment.ask("customer", customer_id).stdout
        assert said["segment_description"] in shown
        assert all(each["feature"] in shown for each in said["reasons"])


def test_an_id_is_found_however_it_is_written_and_wherever_it_is_read_from(deployment: Deployment) -> None:
    customer_id = customer_of(deployment, "customer_id like '%@%'")
    assert "@" in customer_id
    said = deployment.answer("customer", customer_id)
    assert deployment.answer("customer", f"  {customer_id.upper()} ") == said
    done = deployment.ask("customer", "-", "--json", typed=f"{customer_id}\n")
    assert json.loads(done.stdout) == said


def test_a_customer_without_a_segment_is_told_how_far_they_came(second: Deployment, tmp_path: Path) -> None:
    copy = Deployment(shutil.copytree(second.folder, tmp_path / "copy"))
    silver, bronze, new, *_ = (
        each for (each,) in copy.rows("select customer_id from gold.customer_segments order by 1")
    )
    with copy.warehouse.connect() as backend:
        run = backend.con.execute
        run("delete from gold.customer_segments where customer_id in ($1, $2, $3)", [silver, bronze, new])
        run("delete from silver.customer_features where customer_id in ($1, $2)", [silver, bronze])
        run("insert into silver.dropped_customers values ($1, 'order_count;lifetime_days', 3)", [silver])
    said = {each: copy.ask("customer", each) for each in (new, silver, bronze, "nobody")}
    assert {done.exit_code for done in said.values()} == {1}
    assert "has features but no segment yet" in said[new].stderr
    assert "left out of silver, and so of the segments, for lack of order_count, lifetime_days" in said[silver].stderr
    assert re.search(r"Bronze has [\d,]+ order lines of the customer", said[bronze].stderr)
    assert "There is no customer of that id" in said["nobody"].stderr
    assert not [each for each in said if each in said[each].stderr], "what is not there is not repeated"


KEY = "k" * 32


@pytest.fixture(scope="module")
def hidden(second: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The shop of the second run, its customers by pseudonyms above bronze."""
    copy = Deployment(tmp_path_factory.mktemp("hidden") / "deployment")
    shutil.copytree(second.folder, copy.folder)
    with copy.warehouse.connect() as backend:
        tables = tables_with_customers(backend, "silver", "gold")
        hide_ids(backend, {contract.qualified_name: contract for contract in tables}, KEY)
        for layer in ("silver", "gold"):
            record_ids(backend, layer, what_ids_are(KEY))
    return copy


def test_with_a_key_a_customer_answers_to_id_and_pseudonym(second: Deployment, hidden: Deployment) -> None:
    customer_id = customer_of(second)
    before, known_as = second.answer("customer", customer_id), pseudonym(customer_id, KEY)
    for asked in (customer_id, customer_id.upper() if "@" in customer_id else customer_id, known_as):
        said = hidden.answer("customer", asked, CLUSTERING_PSEUDONYM_KEY=KEY)
        assert said == {**before, "customer_id": known_as}
    for settings in ({}, {"CLUSTERING_PSEUDONYM_KEY": "another key than that"}):
        assert hidden.answer("customer", known_as, **settings)["customer_id"] == known_as
        assert "set CLUSTERING_PSEUDONYM_KEY to their key" in hidden.ask("customer", customer_id, **settings).stderr


def test_where_a_customer_was_and_what_became_of_them_is_told(second: Deployment, tmp_path: Path) -> None:
    copy = Deployment(shutil.copytree(second.folder, tmp_path / "copy"))
    [(joined,)] = copy.rows("select min(customer_id) from gold.segment_changes where change = 'joined'")
    months = [date(2025, 10, 31), date(2025, 11, 30)]
    history = pd.DataFrame(
        {
            "as_of": pd.to_datetime(months),
            "customer_id": joined,
            "segment_id": [0, 1],
            "segment_name": ["One", "Another"],
            "confidence": [0.25, 0.5],
            "outlier_score": 0.1,
            "model_run_id": "model",
            "assigned_at": datetime(2026, 1, 1),
        }
    )
    with copy.warehouse.connect() as backend:
        replace_period(backend, SEGMENT_HISTORY, history, "as_of", date(2025, 10, 1), date(2025, 12, 1))
    said = copy.answer("customer", joined)
    assert [(each["as_of"], each["segment_name"], each["confidence"]) for each in said["history"]] == [
        ("2025-10-31", "One", 0.25),
        ("2025-11-30", "Another", 0.5),
    ]
    assert said["change"]["change"] == "joined"
    shown = copy.ask("customer", joined).stdout
    assert "2025-11  Another" in shown
    assert "joined, from nowhere: not there before" in shown


# ---------------------------------------------------------------------------------------------------------- comparison


def test_two_fits_are_compared_by_what_the_tables_say(first: tuple[Deployment, str], second: Deployment) -> None:
    before, said = first[0], second.answer("diff")
    ids = [each for (each,) in second.rows("select model_run_id from gold.segment_model order by fitted_at")]
    assert [said["before_run_id"], said["now_run_id"]] == ids
    then = dict(before.rows("select customer_id, segment_id from gold.customer_segments"))
    today = dict(second.rows("select customer_id, segment_id from gold.customer_segments"))
    both = then.keys() & today.keys()
    assert said["joined"] == len(today.keys() - then.keys()) > 0
    assert said["left"] == len(then.keys() - today.keys()) > 0
    assert said["stayed"] == sum(then[each] == today[each] for each in both)
    assert said["moved"] == len(both) - said["stayed"]
    sizes = {each["segment_id"]: (each["before"], each["now"]) for each in said["sizes"]}
    assert sizes == {
        each: ([*then.values()].count(each), [*today.values()].count(each))
        for each in {*then.values(), *today.values()}
    }
    assert sum(flow["customers"] for flow in said["flows"]) == len(then.keys() | today.keys())
    [(drift, silhouette)] = second.rows(
        "select feature_drift, silhouette from gold.segment_model where model_run_id = $1", [ids[1]]
    )
    assert said["drift"] == json.loads(drift)
    assert {each["name"]: each["now"] for each in said["figures"]}["silhouette"] == silhouette
    shown = second.ask("diff").stdout
    assert f"{said['joined']:,} joined" in shown
    assert second.answer("diff", *[each[:6] for each in ids]) == said, "ids may be cut"


def test_what_cannot_be_compared_is_said_with_what_to_do(second: Deployment, tmp_path: Path) -> None:
    now, before = (
        each for (each,) in second.rows("select model_run_id from gold.segment_model order by fitted_at desc")
    )
    backwards = second.answer("diff", now, before)
    assert backwards["sizes"] == backwards["flows"] == []
    assert backwards["moved"] is None
    assert "run the job apply_model" in second.ask("diff", now, before, COLUMNS="400").stdout
    copy = Deployment(shutil.copytree(second.folder, tmp_path / "copy"))
    with copy.warehouse.connect() as backend:
        backend.con.execute(
            """create table gold.model_assignments as
               select customer_id, 0::bigint as segment_id, 'All of them' as segment_name, 1.0 as confidence,
                      0.0 as outlier_score, $1 as model_run_id, assigned_at from gold.customer_segments""",
            [before],
        )
    applied = copy.answer("diff", now, before)
    assert {flow["to_name"] for flow in applied["flows"]} == {"All of them"}
    assert sum(flow["customers"] for flow in applied["flows"]) == len(copy.rows("from gold.customer_segments"))
    assert "apply_model" not in "".join(applied["not_compared"])


def test_a_fit_that_is_not_there_is_named_with_those_that_are(deployment: Deployment, second: Deployment) -> None:
    alone = deployment.ask("diff")
    assert alone.exit_code == 1
    assert "There is nothing before the fit" in alone.stderr
    unknown = second.ask("diff", "nosuch")
    assert unknown.exit_code == 1
    for (each,) in second.rows("select model_run_id from gold.segment_model"):
        assert each in unknown.stderr
        assert "the same fit" in second.ask("diff", each, each).stderr


# -------------------------------------------------------------------------------------------------------------- errors

QUESTIONS = [["segments"], ["customer", "somebody"], ["explain", "1"], ["diff"]]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question[0])
def test_without_a_warehouse_every_question_says_what_to_do_and_makes_none(question: list[str], tmp_path: Path) -> None:
    done = Deployment(tmp_path).ask(*question)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "There is no warehouse in" in done.stderr
    assert "clustering-assets run" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question[0])
def test_before_the_first_fit_every_question_says_so(question: list[str], tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    with deployment.warehouse.connect():
        pass
    done = deployment.ask(*question)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("There are no segments")


def test_a_bad_setting_is_a_sentence_and_a_bad_command_another(deployment: Deployment) -> None:
    bad = deployment.ask("segments", CLUSTERING_KEEP_MODELS="many")
    assert bad.exit_code == 1
    assert "CLUSTERING_KEEP_MODELS is 'many'" in bad.stderr
    for wrong in (["segmnts"], ["customer"], ["diff", "a", "b", "c"], ["run", "--confg", "x"]):
        assert deployment.ask(*wrong).exit_code == 2


def test_who_holds_the_warehouse_is_named(deployment: Deployment) -> None:
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(deployment.warehouse.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"open\n"
        done, looked = deployment.ask("segments"), deployment.answer("doctor")
        assert holder.stdin
        holder.stdin.close()
    assert done.exit_code == 1
    assert f"is held by PID {holder.pid}" in done.stderr
    [found] = [each for each in looked["findings"] if each["about"] == "warehouse"]
    assert found["verdict"] == "look"
    assert f"PID {holder.pid}" in found["found"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ops: {gold: {config: {n_clusters: many}}}", "n_clusters"),
        ("ops: [", "cannot be read"),
        (None, "No such file"),
    ],
)
def test_a_config_that_cannot_be_used_stops_the_run_before_it_begins(
    deployment: Deployment, tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    done = deployment.ask("run", "--config", str(path))
    assert done.exit_code == 1
    assert str(path) in done.stderr
    assert said in done.stderr


# ---------------------------------------------------------------------------------------------------------- completion


def completed(deployment: Deployment, line: str) -> list[str]:
    script = "import sys; from clustering_assets.cli import app; sys.argv[0] = 'clustering-assets'; app()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **deployment.environment,
            "_CLUSTERING_ASSETS_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr, "it would be in the middle of what is typed"
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_commands_and_segments_are_completed(deployment: Deployment, tmp_path: Path) -> None:
    assert completed(deployment, "clustering-assets d") == ["diff", "doctor"]
    [(name, segment_id)] = deployment.rows(
        "select segment_name, segment_id from gold.segment_profiles order by customers desc limit 1"
    )
    assert completed(deployment, f"clustering-assets explain {name[:4]}") == [name]
    assert completed(deployment, f"clustering-assets explain {name[:4].lower()}") == [name[:4].lower() + name[4:]]
    assert completed(deployment, f"clustering-assets explain {segment_id}") == [str(segment_id)]
    assert completed(Deployment(tmp_path), "clustering-assets explain s") == []


def test_help_needs_nothing_heavy() -> None:
    heavy = ("dagster", "duckdb", "ibis", "pandas", "sklearn")
    probe = f"""import sys
from typer.testing import CliRunner
from clustering_assets.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print([name for name in {heavy} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.strip() == "[]"


def test_the_keys_of_json_are_documented(second: Deployment) -> None:
    page = (CHECKOUT / "docs" / "command_line.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*`.*) \|$", page.partition("## JSON")[2], re.MULTILINE))
    customer_id, segment = customer_of(second), "0"
    for command, question in {
        "segments": ["segments"],
        "explain": ["explain", segment],
        "customer": ["customer", customer_id],
        "diff": ["diff"],
        "doctor": ["doctor"],
    }.items():
        said = second.answer(*question)
        named = {*re.findall(r"`(\w+)`", rows[command] + (rows["segments"] if command == "explain" else ""))}
        top = {*said, *said.get("segments", [{}])[0], *(each for row in said.get("findings", []) for each in row)}
        assert top <= named | {"segments"}, command


# ------------------------------------------------------------------------------------------------------------ notebook

NOTEBOOK = CHECKOUT / "docs" / "own_question.ipynb"
_FINDINGS = """import json
print(json.dumps({
    "chosen": int(chosen.segment_id),
    "returned": by_category.returned.to_dict(),
    "rate_of_others": by_category.rate_of_others.to_dict(),
    "paid": effect_of_fee(1, 0, 0).droplevel(1).to_dict(),
    "nothing": float(effect_of_fee(0, 0, 0).abs().sum()),
    "lines_asked": int(answer.lines.sum()),
}))"""


def notebook_answers_what_the_tables_say(deployment: Deployment, found: dict[str, Any], known_as: str) -> None:
    [(chosen,)] = deployment.rows(
        "select arg_max(segment_id, return_rate_mean) from gold.segment_profiles where segment_id >= 0"
    )
    assert found["chosen"] == chosen
    lines = f"bronze.order_lines l join gold.customer_segments s on s.customer_id = {known_as}"
    by_category = deployment.rows(
        f"""select category, count(*) filter (return_quantity > 0 and segment_id = $1),
                   avg((return_quantity > 0)::int) filter (segment_id <> $1)
            from {lines} where category is not null group by 1
            having count(*) filter (segment_id = $1) > 0""",
        [chosen],
    )
    assert {name: count for name, count in found["returned"].items() if count == count} == {
        category: returned for category, returned, _ in by_category
    }
    for category, _, rate in by_category:
        assert found["rate_of_others"][category] == pytest.approx(rate)
    paid = deployment.rows(f"select segment_id, count(*) filter (return_quantity > 0) from {lines} group by 1")
    assert found["paid"] == {str(segment): count for segment, count in paid}, "a fee of 1 that changes nothing"
    assert found["nothing"] == 0
    assert found["lines_asked"] == deployment.rows(f"select count(*) from {lines} where order_date is not null")[0][0]


def test_the_notebook_goes_from_the_warehouse_to_an_own_question_in_ten_cells(
    first: tuple[Deployment, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, notebook = first[0], nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) == 10
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "no output is committed"
    for name, value in {**deployment.environment, "CLUSTERING_PSEUDONYM_KEY": ""}.items():
        monkeypatch.setenv(name, value)
    notebook.cells.append(nbformat.v4.new_code_cell(_FINDINGS))
    path = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=path).execute()
    [said] = [output["text"] for output in notebook.cells[-1].outputs]
    notebook_answers_what_the_tables_say(deployment, json.loads(said), "l.customer_id")
    shown = json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert not [each for (each,) in deployment.rows("select customer_id from bronze.order_lines") if each in shown]


def test_the_notebook_finds_the_customers_behind_pseudonyms(
    hidden: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**hidden.environment, "CLUSTERING_PSEUDONYM_KEY": KEY}.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    for cell in [*cells, _FINDINGS]:
        exec(cell, names)  # noqa: S102  the project's own document
    names["warehouse"].close()
    with hidden.warehouse.read() as backend:
        backend.con.create_function("hide", lambda each: pseudonym(each, KEY), ["varchar"], "varchar")
        expected = backend.con.execute(
            """select count(*) from bronze.order_lines l
               join gold.customer_segments s on s.customer_id = hide(l.customer_id)"""
        ).fetchall()[0][0]
    assert len(names["lines"]) == expected > 0
    assert json.loads(capsys.readouterr().out)["nothing"] == 0
