"""Where identities come from: files as ``walstream keygen`` and ``age-keygen`` write them, and commands.

They are looked for when something encrypted is met for the first time, and not before: what is not encrypted
needs none, and a command may ask somebody. An identity is secret: a file must be for its owner alone, and no
message quotes a line of it. On the path of ``get-wal``: little is loaded until they are needed.
"""

from __future__ import annotations

import os
import stat

from catalog.age.header import read_header
from catalog.errors import IdentityError, Malformed, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.age.header import Header
    from catalog.age.keys import Identity
    from catalog.sink import Reader

COMMAND_LIMIT = 60.0  # seconds; somebody may have to touch a token
_MOST = 1 << 20
_FILE_MODE = 0o600


class Identities:
    """The identities in a ``file``, and those that a ``command`` prints; without either there are none.

    ``ask`` is called with a prompt for the passphrase of a file that is locked with one.
    """

    __slots__ = ("_ask", "_found", "command", "file")

    def __init__(
        self, file: str | None = None, command: str | None = None, ask: Callable[[str], str] | None = None
    ) -> None:
        self.file = file
        self.command = command
        self._ask = ask
        self._found: tuple[Identity, ...] | None = None

    def __bool__(self) -> bool:
        """Whether there is anywhere to look for them."""
        return bool(self.file or self.command)

    def all(self) -> tuple[Identity, ...]:
        """All of them, looked for once; ``IdentityError`` when one cannot be had."""
        if self._found is None:
            found: list[Identity] = []
            if self.file:
                found += read_identities(self.file, self._ask)
            if self.command:
                found += identities_of_command(self.command)
            self._found = tuple(found)
        return self._found

    def file_key(self, header: Header, what: str) -> bytes:
        """The key of the age file ``what``, which has this header; ``IdentityError`` when none of them opens it."""
        # Not at the top: get-wal of what is not encrypted does without cryptography.
        from catalog.age.keys import unwrap

        if not self:
            raise IdentityError(f"{what} is encrypted, and no identity was given", _GIVE)
        try:
            return unwrap(header, self.all())
        except IdentityError as error:
            raise IdentityError(f"{what}: {error}", error.hint) from None


def decrypted(file_key: bytes, reader: Reader) -> Reader:
    """What is encrypted with this key in ``reader``, which is behind the header; closing that closes ``reader``."""
    # Not at the top: who only looks whether a file is there needs no cryptography.
    from catalog.age.payload import DecryptingReader

    return DecryptingReader(file_key, reader)


class EncryptedReader:
    """What an age file holds; the identity that opens it is looked for when it is read first."""

    __slots__ = ("_identities", "_open", "_reader", "_what")

    def __init__(self, reader: Reader, identities: Identities | None, what: str) -> None:
        self._reader = reader
        self._identities = identities or Identities()
        self._what = what
        self._open: Reader | None = None

    def read(self, n: int, /) -> bytes:
        if self._open is None:
            header, rest = read_header(self._reader)
            self._open = decrypted(self._identities.file_key(header, self._what), rest)
        return self._open.read(n)

    def close(self) -> None:
        self._reader.close()


def read_identities(path: str, ask: Callable[[str], str] | None = None) -> list[Identity]:
    """The identities in a file, which nobody but its owner may read; ``IdentityError`` says what is wrong."""
    data = _read_private(path)
    where = f"identity file {path!r}"
    if data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")):
        data = _unlock(data, where, ask)
    return parse_identities(data, where)


def parse_identities(data: bytes, where: str) -> list[Identity]:
    """The identities in the text of such a file: one a line, between empty lines and comments."""
    # Not at the top: get-wal of what is not encrypted does without cryptography.
    from catalog.age.keys import Identity

    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            found.append(Identity.parse(line))
        except Malformed as error:
            raise IdentityError(f"{where}, line {number}: {error}", error.hint) from None
    if not found:
        raise IdentityError(f"{where} holds no identity", _LOOKS)
    return found


def identities_of_command(command: str, limit: float = COMMAND_LIMIT) -> list[Identity]:
    """The identities that a command prints. It is run without a shell, for ``limit`` seconds at most.

    What it says on standard error goes where ours goes. ``IdentityError`` when it fails.
    """
    where = "encryption_identity_command"
    output, code = _run(_words(command, where), limit, where)
    if code != 0:
        raise IdentityError(
            f"{where} ended with code {code}", "run it by hand, as the same user: it must print the identity"
        )
    return parse_identities(output, f"what {where} printed")


def write_identity(path: str, created: str) -> str:
    """Make a new identity in a new file that its owner alone can read; its recipient.

    ``created`` is a time for a comment. An existing file is never touched: ``IdentityError``.
    """
    from catalog import durable  # not at the top: reading needs neither
    from catalog.age.keys import Identity

    identity = Identity.new()
    text = f"# created: {created}\n# public key: {identity.recipient}\n{identity.secret_text()}\n"
    try:
        durable.write_file(path, text.encode("ascii"), _FILE_MODE, replace=False)
    except FileExistsError:
        raise IdentityError(
            f"{path!r} exists already; nothing was written",
            "name another file: without the identity in this one, what was encrypted for it is lost",
        ) from None
    except OSError as error:
        raise StorageError(f"cannot write {path!r}: {error.strerror or error}") from error
    return str(identity.recipient)


def _read_private(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            # What is not a file is a pipe from another program, and has no readers but us.
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                import shlex  # little is loaded until something is wrong

                mode = f"{stat.S_IMODE(found.st_mode):04o}"
                raise IdentityError(
                    f"identity file {path!r} is open to others (mode {mode})",
                    f"chmod 600 {shlex.quote(path)}; then consider who may have read it",
                )
            return _read_all(file.read, f"identity file {path!r}")
    except OSError as error:
        raise IdentityError(
            f"cannot read identity file {path!r}: {error.strerror or error}", _READABLE
        ) from None


def _read_all(read: Callable[[int], bytes | None], where: str) -> bytes:
    pieces, total = [], 0
    while piece := read(1 << 16):
        pieces.append(piece)
        total += len(piece)
        if total > _MOST:
            raise IdentityError(f"{where} is no list of identities: it has more than {_MOST} bytes", _LOOKS)
    return b"".join(pieces)


def _unlock(data: bytes, where: str, ask: Callable[[str], str] | None) -> bytes:
    # These imports are not at the top: hardly anybody comes here.
    from io import BytesIO

    from catalog.age.file import open_encrypted
    from catalog.age.keys import Passphrase

    if ask is None:
        raise IdentityError(
            f"{where} is locked with a passphrase, and there is nobody to ask for it", _UNLOCK
        )
    opener = Passphrase(ask(f"passphrase of {where}: "))
    try:
        return _read_all(open_encrypted(BytesIO(data), [opener]).read, where)
    except Malformed as error:
        raise IdentityError(f"{where}: {error}", error.hint) from None
    except IdentityError as error:
        raise IdentityError(f"{where}: {error}", "was it the right passphrase?") from None


def _words(command: str, where: str) -> list[str]:
    import shlex  # not at the top: it needs re, and only a command needs it

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise IdentityError(f"{where} cannot be split into words: {error}", _NO_SHELL) from None
    if not words:
        raise IdentityError(f"{where} is empty", _NO_SHELL)
    return words


def _run(words: list[str], limit: float, where: str) -> tuple[bytes, int]:
    """What a command prints, and how it ends; it and what it started are killed when that takes too long."""
    # Not at the top: only a command needs them, and they cost as much as all of get-wal.
    import signal
    import subprocess
    import threading

    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
    except OSError as error:
        raise IdentityError(
            f"cannot run {where}: {words[0]!r}: {error.strerror or error}", _NO_SHELL
        ) from None
    late = threading.Event()

    def kill() -> None:
        late.set()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(limit, kill)
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            try:
                output = _read_all(process.stdout.read, f"what {where} printed")
            except BaseException:
                kill()
                raise
            code = process.wait()
    finally:
        timer.cancel()
    if late.is_set():
        raise IdentityError(
            f"{where} took longer than {limit:g} seconds, and was killed", "does it wait for somebody?"
        )
    return output, code


_GIVE = "give one: --identity-file, or encryption_identity_file or encryption_identity_command in the configuration"
_READABLE = "it must exist, and belong to the user that runs walstream"
_LOOKS = "a line that begins with AGE-SECRET-KEY-1 is an identity"
_UNLOCK = "let a command unlock it: encryption_identity_command; or unlock it into a file: age -d FILE"
_NO_SHELL = "it is run without a shell; for pipes and variables: sh -c '...'"
