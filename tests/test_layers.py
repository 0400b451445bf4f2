"""Who may import whom: the architecture, as data. A new module needs a row of its own, on purpose.

``ROWS``: module, or package with all it holds → prefixes of our modules that it may import; the longest
matching row counts. The three packages themselves have no row, so that nothing slips in. What is imported
for type checkers only counts as well. ``DOORS``: third-party package → the modules that may import it.
"""

import ast
import sys

import pytest
from support.modules import MODULES, PACKAGES, all_imports, comments_of, is_below

ALLOWED_ANYWHERE = set(PACKAGES)  # their __init__ holds a docstring and the version

# The ground: values that know nothing of storage, and the pure rules about them.
ERRORS = "catalog.errors"
POSITIONS = f"{ERRORS} catalog.value catalog.lsn catalog.walname"
BYTES = "catalog.sink"
DOCUMENTS = f"{POSITIONS} catalog.document catalog.document_values catalog.durable"
RECORDS = f"{DOCUMENTS} catalog.record catalog.repository_identity catalog.timeline catalog.inventory"
DECISIONS = f"{RECORDS} catalog.target catalog.span catalog.marks"
CODECS = f"""{ERRORS} {BYTES} catalog.codec catalog.codecs catalog.decoding catalog.frames catalog.relay
    catalog.age catalog.identity"""
STORES = f"{ERRORS} {BYTES} catalog.durable catalog.storage catalog.local_storage"
SHELVES = f"{RECORDS} {CODECS} {STORES} catalog.layout catalog.walpage catalog.marks"

# Receiving: pure parts, then what touches the network or WAL files, then what joins them.
CONVERSATION = f"{POSITIONS} catalog.timeline walstream.commands walstream.messages"
NETWORK = f"{CONVERSATION} walstream.connection walstream.slots walstream.server"
STREAMING = f"""{NETWORK} walstream.facts walstream.gap walstream.resume walstream.session walstream.control
    walstream.standing"""
RECEIVING = """catalog
    walstream.archiver walstream.blanks walstream.commands walstream.connecting walstream.connection
    walstream.continuity walstream.control walstream.delivered walstream.elsewhere walstream.facts walstream.gap
    walstream.held walstream.intake walstream.leftovers walstream.messages walstream.outage walstream.publisher
    walstream.receiver walstream.receiving walstream.replication walstream.resume walstream.segment walstream.server
    walstream.session walstream.slots walstream.spool walstream.standing walstream.streaming
    walstream.synchronous walstream.tail walstream.telling walstream.wakeup"""

# Taking and restoring: pure formats first.
FORMATS = f"{POSITIONS} {BYTES} catalog.crc32c catalog.timeline backup.names backup.checksum"
OFFLINE_BACKUP = "catalog backup"

# What the commands that work offline ask for.
OFFLINE_OPS = f"{OFFLINE_BACKUP} walstream.settings walstream.ops.stored walstream.ops.listing"
LIBRARY = f"{RECEIVING} walstream.sinks walstream.stream backup walstream.ops"
LIBRARY_ONLY = f"""{RECEIVING} walstream.sinks walstream.stream backup walstream.ops.parent walstream.ops.place
    walstream.ops.reception walstream.ops.backup walstream.ops.backup_reception walstream.ops.backup_wal
    walstream.ops.restore walstream.ops.stored walstream.ops.recovery_plan walstream.ops.requirements
    walstream.ops.library walstream.ops.offline walstream.ops.sweep walstream.ops.hooks walstream.ops.script
    walstream.ops.server_log"""
MAINTAINING = """walstream.archiver walstream.ops.server_log walstream.ops.archive walstream.ops.local
    walstream.ops.sweep walstream.ops.retain walstream.ops.expire walstream.ops.bench_place"""
SUPERVISING = """walstream.ops.notify walstream.ops.supervision walstream.ops.children walstream.ops.health
    walstream.ops.keeper walstream.ops.companion walstream.ops.timetable walstream.ops.backups_due
    walstream.ops.rounds_due walstream.ops.server_log walstream.outage"""

ROWS = {
    "catalog.errors": "",
    "catalog.value": "",
    "catalog.lsn": POSITIONS,
    "catalog.walname": POSITIONS,
    "catalog.sink": ERRORS,
    "catalog.units": "",
    "catalog.durable": f"{ERRORS} {BYTES}",
    "catalog.crc32c": BYTES,
    "catalog.walpage": f"{POSITIONS} {BYTES}",
    "catalog.walrecord_part": "catalog.crc32c",
    "catalog.walrecord": f"{POSITIONS} {BYTES} catalog.crc32c catalog.walpage catalog.walrecord_part",
    "catalog.recordtypes": f"{POSITIONS} catalog.walrecord",
    "catalog.commits": f"{POSITIONS} {BYTES} catalog.recordtypes catalog.walrecord catalog.walpage",
    "catalog.segment_cache": "catalog.durable",
    "catalog.commits_cache": f"{ERRORS} catalog.layout catalog.commits catalog.segment_cache",
    "catalog.search": f"{POSITIONS} catalog.target catalog.timeline catalog.commits catalog.recordtypes",
    "catalog.timeline": POSITIONS,
    "catalog.document": f"{ERRORS} catalog.durable",
    "catalog.document_values": DOCUMENTS,
    "catalog.repository_identity": f"{DOCUMENTS} catalog.layout catalog.storage",
    "catalog.record": RECORDS,
    "catalog.marks": RECORDS,
    "catalog.target": POSITIONS,
    "catalog.inventory": f"{POSITIONS} catalog.timeline",
    "catalog.lineage": RECORDS,
    "catalog.coverage": f"{DECISIONS} catalog.lineage",
    "catalog.wal_holes": f"{DECISIONS} catalog.coverage",
    "catalog.path_wal": f"{DECISIONS} catalog.coverage",
    "catalog.branching": f"{DECISIONS} catalog.coverage",
    "catalog.left_aside": f"{DECISIONS} catalog.coverage catalog.search",
    "catalog.last_needed": f"{DECISIONS} catalog.coverage catalog.path_wal catalog.search",
    "catalog.recovery": f"""{DECISIONS} catalog.coverage catalog.branching catalog.left_aside catalog.last_needed
        catalog.path_wal catalog.search catalog.recordtypes""",
    "catalog.pitr": f"""{DECISIONS} catalog.coverage catalog.branching catalog.left_aside catalog.recovery
        catalog.search""",
    "catalog.lookup": RECORDS,
    "catalog.retention": f"{DECISIONS} catalog.coverage catalog.statuses",
    "catalog.codecs": CODECS,
    "catalog.codec": f"{ERRORS} {BYTES} catalog.age.names catalog.codecs catalog.decoding",
    "catalog.decoding": f"{ERRORS} {BYTES} catalog.codecs catalog.identity",
    "catalog.frames": CODECS,
    "catalog.relay": CODECS,
    "catalog.parallel": CODECS,
    "catalog.age": f"{ERRORS} {BYTES} catalog.age",
    "catalog.identity": f"{ERRORS} {BYTES} catalog.age catalog.durable",
    "catalog.storage": STORES,
    "catalog.local_storage": STORES,
    "catalog.lock": STORES,
    "catalog.layout": f"{POSITIONS} catalog.record",
    "catalog.published": "catalog.durable",
    "catalog.state": f"{DOCUMENTS} {STORES} catalog.layout catalog.lock catalog.published",
    "catalog.active_model": f"{DOCUMENTS} {STORES} catalog.layout",
    "catalog.supervisor_state": f"{DOCUMENTS} {STORES} catalog.layout catalog.lock catalog.published",
    "catalog.gaps": f"{DECISIONS} {STORES} catalog.layout catalog.coverage",
    "catalog.wal": SHELVES,
    "catalog.backups": SHELVES,
    "catalog.comparison": f"{BYTES} catalog.walpage",
    "catalog.partials": f"{POSITIONS} {BYTES} catalog.comparison catalog.walrecord",
    "catalog.filing": f"{SHELVES} catalog.wal catalog.comparison catalog.partials catalog.fingerprint",
    "catalog.fingerprint": f"{ERRORS} {BYTES} catalog.age catalog.comparison catalog.walpage",
    "catalog.incoming": f"{SHELVES} catalog.comparison catalog.filing",
    "catalog.repository": f"{SHELVES} catalog.wal catalog.backups catalog.lock catalog.coverage",
    "catalog.statuses": f"{DECISIONS} catalog.coverage",
    "catalog.in_use": f"{ERRORS} catalog.layout catalog.repository",
    "catalog.survey": f"""{DECISIONS} {SHELVES} catalog.coverage catalog.statuses catalog.lookup
        catalog.repository catalog.lock""",
    "catalog.reach": f"{DECISIONS} catalog.coverage",
    "catalog.usage": f"{SHELVES} catalog.wal",
    "catalog.expiry": f"{DECISIONS} catalog.coverage",
    "backup.names": ERRORS,
    "backup.checksum": f"{ERRORS} {BYTES} catalog.crc32c",
    "backup.stream": FORMATS,
    "backup.tar": FORMATS,
    "backup.manifest_entry": FORMATS,
    "backup.manifest": f"{FORMATS} backup.manifest_entry",
    "backup.label": FORMATS,
    "backup.incremental": FORMATS,
    "backup.recovery_conf": f"{POSITIONS} {BYTES} catalog.target catalog.durable backup.lookahead",
    "backup.tree": f"{STORES} backup.names",
    "backup.locations": RECORDS,
    "backup.destination": STORES,
    "backup.extract": f"{STORES} {FORMATS} backup.tar backup.tree",
    "backup.observed": f"{FORMATS} {STORES} backup.manifest backup.manifest_entry backup.tar",
    "backup.overlay": f"{STORES} {FORMATS} backup.tar backup.tree backup.incremental backup.extract",
    "backup.growth": f"{FORMATS} backup.tar backup.incremental",
    "backup.stored": OFFLINE_BACKUP,
    "backup.unpack": OFFLINE_BACKUP,
    "backup.chain": OFFLINE_BACKUP,
    "backup.fetch": OFFLINE_BACKUP,
    "backup.copied_wal": OFFLINE_BACKUP,
    "backup.lookahead": OFFLINE_BACKUP,
    "backup.wal_log": OFFLINE_BACKUP,
    "backup.ssh": f"{ERRORS} {BYTES} catalog.durable",
    "backup.tar_stream": f"{STORES} {FORMATS} backup.tar backup.extract backup.neutralise",
    "backup.remote_place": f"{ERRORS} catalog.units backup.ssh backup.destination",
    "backup.remote": OFFLINE_BACKUP,
    "backup.neutralise": "backup.checksum backup.recovery_conf",
    "backup.configure": OFFLINE_BACKUP,
    "backup.room": OFFLINE_BACKUP,
    "backup.restore_options": OFFLINE_BACKUP,
    "backup.restore": OFFLINE_BACKUP,
    "backup.verify": OFFLINE_BACKUP,
    "backup.unchanged": OFFLINE_BACKUP,
    "backup.verify_segments": OFFLINE_BACKUP,
    "backup.verify_wal": OFFLINE_BACKUP,
    "backup.verified_wal": "catalog.layout catalog.segment_cache catalog.walrecord_part",
    "backup.wal_listing": "catalog",
    "backup.segment_check": f"""{POSITIONS} {BYTES} catalog.timeline catalog.walpage catalog.walrecord
        catalog.walrecord_part""",
    "backup.ahead": BYTES,
    "backup.incoming": OFFLINE_BACKUP,
    "backup.bad_pages": RECORDS,
    "backup.wal_range": f"{RECORDS} {FORMATS} backup.label backup.manifest_entry",
    "backup.take": f"{OFFLINE_BACKUP} walstream.connection walstream.commands walstream.messages",
    "walstream.messages": POSITIONS,
    "walstream.commands": CONVERSATION,
    "walstream.session": CONVERSATION,
    "walstream.wakeup": ERRORS,
    "walstream.outage": "",
    "walstream.control": f"{POSITIONS} walstream.wakeup",
    "walstream.standing": "walstream.session",
    "walstream.connecting": f"{ERRORS} walstream.settings.conninfo",
    "walstream.connection": f"{CONVERSATION} walstream.connecting",
    "walstream.slots": NETWORK,
    "walstream.server": NETWORK,
    "walstream.replication": NETWORK,
    "walstream.resume": f"{CONVERSATION} catalog.inventory walstream.facts",
    "walstream.segment": f"{POSITIONS} {BYTES} catalog.durable catalog.comparison catalog.walpage",
    "walstream.blanks": f"{STORES} {POSITIONS} walstream.segment",
    "walstream.spool": f"{STORES} {POSITIONS} catalog.walpage walstream.blanks walstream.segment",
    "walstream.archiver": "catalog walstream.segment walstream.outage",
    "walstream.delivered": "catalog",
    "walstream.facts": f"{NETWORK} catalog.walpage",
    "walstream.synchronous": f"{NETWORK} walstream.facts walstream.session",
    "walstream.gap": f"{NETWORK} walstream.session walstream.resume",
    "walstream.streaming": STREAMING,
    "walstream.receiving": f"{STREAMING} walstream.streaming",
    "walstream.continuity": f"{STREAMING} walstream.streaming walstream.receiving",
    "walstream.elsewhere": f"""{STREAMING} catalog.units walstream.streaming walstream.receiving
        walstream.connecting walstream.continuity walstream.outage""",
    "walstream.leftovers": "catalog walstream.archiver",
    "walstream.publisher": "catalog walstream.archiver walstream.session walstream.standing",
    "walstream.held": "catalog walstream.archiver",
    "walstream.telling": f"{STREAMING} catalog.units walstream.streaming walstream.outage",
    "walstream.receiver": RECEIVING,
    "walstream.tail": "catalog walstream.archiver walstream.leftovers walstream.resume",
    "walstream.intake": RECEIVING,
    "walstream.sinks": RECEIVING,
    "walstream.stream": RECEIVING,
    "walstream.settings": "catalog walstream.settings",
    "walstream.ops.listing": OFFLINE_OPS,
    "walstream.ops.details": OFFLINE_OPS,
    "walstream.ops.stored_files": OFFLINE_OPS,
    "walstream.ops.held_wal": OFFLINE_OPS,
    "walstream.ops.left_branches": f"{OFFLINE_OPS} walstream.ops.held_wal",
    "walstream.ops.verify_wal": f"{OFFLINE_OPS} walstream.ops.held_wal",
    "walstream.ops.last_time": f"{OFFLINE_OPS} walstream.ops.held_wal",
    "walstream.ops.window_ends": f"{OFFLINE_OPS} walstream.ops.held_wal",
    "walstream.ops.receiver_facts": f"{OFFLINE_OPS} walstream.archiver walstream.standing",
    "walstream.ops.status_facts": f"""{OFFLINE_OPS} walstream.archiver walstream.ops.held_wal
        walstream.ops.left_branches walstream.ops.last_time walstream.ops.window_ends walstream.ops.receiver_facts
        walstream.ops.survey""",
    "walstream.ops": f"{LIBRARY} walstream.settings",
    # What serves the library as well takes plain values; whoever imports wiring knows the settings.
    "walstream.ops.place": LIBRARY_ONLY,
    "walstream.ops.parent": "catalog",
    "walstream.ops.reception": LIBRARY_ONLY,
    "walstream.ops.backup": LIBRARY_ONLY,
    "walstream.ops.backup_reception": LIBRARY_ONLY,
    "walstream.ops.backup_wal": LIBRARY_ONLY,
    "walstream.ops.restore": f"{LIBRARY_ONLY} walstream.ops.restore_elsewhere walstream.ops.restore_owner",
    "walstream.ops.restore_owner": "catalog",
    "walstream.ops.restore_elsewhere": OFFLINE_BACKUP,
    "walstream.ops.recovery_plan": OFFLINE_BACKUP,
    "walstream.ops.stored": "catalog",
    "walstream.ops.sweep": "catalog",
    # A bench: what the figures mean knows nothing of how they are taken.
    "walstream.ops.bench": f"{LIBRARY} walstream.settings",
    "walstream.ops.bench_measures": "",
    "walstream.ops.bench_place": STORES,
    "walstream.ops.bench_streams": f"{RECEIVING} walstream.stream walstream.ops.bench_measures",
    "walstream.ops.bench_native": f"{RECEIVING} walstream.ops.bench_measures walstream.ops.bench_streams",
    "walstream.ops.bench_latency": f"{RECEIVING} walstream.ops.bench_measures walstream.ops.bench_streams",
    "walstream.ops.svg": "",
    "walstream.ops.rewrap": "catalog walstream.ops.stored",
    "walstream.ops.retain": "catalog",
    "walstream.ops.script": "",
    "walstream.ops.server_log": "",
    "walstream.ops.hooks": "catalog walstream.ops.script walstream.ops.server_log",
    "walstream.ops.archive": f"{OFFLINE_OPS} walstream.archiver walstream.ops.local walstream.ops.hooks",
    "walstream.ops.deliver": f"{OFFLINE_OPS} walstream.ops.archive",
    "walstream.ops.expire": "catalog walstream.ops.retain walstream.ops.hooks",
    "walstream.ops.stop": "catalog",
    "walstream.ops.renew": "catalog walstream.ops.stop",
    "walstream.ops.switch_model": "catalog walstream.settings walstream.standing walstream.ops.renew",
    "walstream.ops.local": f"{OFFLINE_OPS} walstream.ops.retain walstream.ops.hooks",
    "walstream.ops.maintain": f"{OFFLINE_OPS} {MAINTAINING}",
    "walstream.ops.succession": LIBRARY_ONLY,
    # The supervisor stays small: it talks to no server, and loads no psycopg.
    "walstream.ops.notify": "",
    "walstream.ops.supervision": "",
    "walstream.ops.children": "walstream.ops.notify",
    "walstream.ops.health": "catalog walstream.ops.supervision",
    "walstream.ops.companion": "walstream.ops.children walstream.ops.supervision",
    # Metrics: what serves pages knows nothing of what is on them.
    "walstream.ops.repeated": "",
    "walstream.ops.http": "catalog.errors walstream.settings.listen",
    "walstream.ops.figures": f"""{OFFLINE_OPS} walstream.standing walstream.ops.local
        walstream.ops.receiver_facts walstream.ops.check""",
    "walstream.ops.metric_table": """walstream.slots walstream.standing walstream.ops.figures
        walstream.ops.receiver_facts""",
    "walstream.ops.metrics": "walstream.ops.figures walstream.ops.metric_table",
    "walstream.ops.observer": """catalog walstream.settings walstream.ops.check walstream.ops.figures
        walstream.ops.receiver_facts walstream.ops.repeated walstream.ops.server_log""",
    "walstream.ops.pages": """walstream.ops.check_receiver walstream.ops.figures walstream.ops.http
        walstream.ops.metrics walstream.ops.observer""",
    "walstream.ops.last_said": "catalog.durable",
    "walstream.ops.rounds_due": """catalog.units walstream.outage walstream.ops.children walstream.ops.server_log
        walstream.ops.supervision""",
    "walstream.ops.keeper": f"catalog walstream.settings {SUPERVISING}",
    "walstream.ops.supervise": f"""catalog walstream.settings walstream.wakeup walstream.ops.rounds
        {SUPERVISING}""",
    "walstream.ops.rounds": """catalog walstream.settings walstream.ops.children walstream.ops.maintain
        walstream.ops.hooks walstream.ops.local walstream.ops.supervision walstream.ops.receiver_facts
        walstream.ops.check_receiver""",
    "walstream.ops.library": LIBRARY_ONLY,
    "walstream.ops.offline": LIBRARY_ONLY,
    "walstream.api": LIBRARY_ONLY,
    "walstream.cli": f"{RECEIVING} backup walstream.settings walstream.ops walstream.api walstream.cli",
    "walstream.__main__": "walstream.cli",
}

DOORS = {
    "psycopg": "walstream.connecting walstream.connection",
    "cryptography": "catalog.age",
    "lz4": "catalog.codecs",
    "backports": "catalog.codecs",
    "compression": "catalog.codecs",  # the standard library's zstd, from Python 3.14 on
    "isal": "catalog.codecs",
    "google_crc32c": "catalog.crc32c",
    "rich": "walstream.cli.output",
    "prometheus_client": "walstream.ops.metrics",
    "cronsim": "walstream.settings.schedule",
}

IMPORTS = all_imports()
OURS = [found for found in IMPORTS if found.imported.split(".")[0] in PACKAGES]
# The command line's start chooses a command before it loads anything, then loads what needs the start.
TOP_FLOOR = "walstream.cli"


def row_of(module):
    """The longest row that covers a module; None if there is none."""
    covering = [row for row in ROWS if is_below(module, row)]
    return max(covering, key=len, default=None)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in PACKAGES])
def test_every_module_has_its_place_in_the_table(module):
    assert row_of(module) is not None, f"say in ROWS what {module} may import"


@pytest.mark.parametrize("module", [name for name in MODULES if row_of(name)])
def test_a_module_imports_only_what_its_row_allows(module):
    allowed = ROWS[row_of(module)].split()
    strangers = [
        str(found)
        for found in OURS
        if found.importer == module
        and found.imported not in ALLOWED_ANYWHERE
        and not any(is_below(found.imported, prefix) for prefix in allowed)
    ]
    assert strangers == []


def test_each_third_party_package_is_imported_behind_its_door_only():
    strangers = []
    for found in IMPORTS:
        package = found.imported.split(".")[0]
        standard = package in sys.stdlib_module_names and package not in DOORS
        doors = DOORS.get(package, "").split()
        if not standard and package not in PACKAGES and not any(is_below(found.importer, d) for d in doors):
            strangers.append(str(found))
    assert strangers == []


def test_imports_are_absolute():
    assert [str(found) for found in IMPORTS if found.imported.startswith(".")] == []


def test_no_module_needs_itself_by_way_of_others():
    needs = {module: set() for module in MODULES}
    for found in OURS:
        if not found.typing_only and not is_below(found.importer, TOP_FLOOR):
            needs[found.importer].add(found.imported)
    while ready := [module for module in needs if not needs[module] & needs.keys()]:
        for module in ready:
            del needs[module]
    assert sorted(needs) == [], "these import each other in a circle, or depend on such a circle"


def test_an_import_inside_a_function_gives_its_reason():
    unexplained = []
    for found in IMPORTS:
        if not found.late:
            continue
        comments = comments_of(MODULES[found.importer])
        near = any(found.line - 3 <= line <= found.line for line in comments)
        if not near and not any("import" in comment for comment in comments.values()):
            unexplained.append(str(found))
    assert unexplained == []


@pytest.mark.parametrize(
    "package", [name for name, path in MODULES.items() if path.name == "__init__.py" and name != TOP_FLOOR]
)
def test_a_package_is_empty_but_for_its_docstring_and_version(package):
    docstring, *rest = ast.parse(MODULES[package].read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(node).split(" = ")[0] for node in rest] in ([], ["__version__"])
