"""`emeterai serve`: one supervisor and its children - PostgreSQL, sandbox provider, web, room, sealers, steward."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx
import msgspec
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels

from emeterai.gate.now import CACHE_S, served_files
from emeterai.gate.room_routes import gate_folder
from emeterai.infra import metrics
from emeterai.infra.logs import COLOUR_VARIABLE, choose_format, logging_config
from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import STOP_SIGNAL, EmbeddedPostgres
from emeterai.infra.process import ChildCommand
from emeterai.infra.settings import PREFIX, Settings, SettingsError, as_environment
from emeterai.infra.supervise import ChildSpec, Supervisor, SupervisorError
from emeterai.infra.tls import trusted

_PROBE_TIMEOUT_S = 2.0
_CONNECTIONS_MAX = 8_192
"""Of each web process: more than all the places that it promises, so that what the server does not take up can never be
what the door would have let in."""
_CONNECTIONS_MIN = 256
"""Where the system allows few files: fewer connections, or none would be left for the database and the blobs."""
_OTHER_FILES_MAX = 1_024
_log = structlog.get_logger(__name__)


async def serve(settings: Settings, *, errand: Callable[[Settings], Awaitable[bool]] | None = None) -> bool:
    """Run every role until Ctrl-C or SIGTERM. With an `errand`: once all is ready run it, and stop when it says so.

    Answers whether all went well. Raises SupervisorError with a text for the operator.
    """
    ports = _ports_of(settings)
    _refuse_equal_ports(ports)
    for variable, port in ports.items():
        _refuse_taken_port(settings.host, port, variable)
    settings.data_path.mkdir(parents=True, exist_ok=True)
    if settings.database_url:
        await migrate(settings.database_url)
    log_format = choose_format(settings.log_format)
    metrics_folder = settings.data_path / "metrics"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
        **metrics.environment_of(metrics_folder),
        **as_environment(msgspec.structs.replace(settings, log_format=log_format)),
    }
    if log_format == "console" and sys.stderr.isatty():
        environment[COLOUR_VARIABLE] = "1"
    supervisor = Supervisor(
        _children(settings, environment),
        settings.data_path,
        plain=log_format == "console",
        before_first=lambda: metrics.prepare_folder(metrics_folder),
        after_death=lambda: metrics.fold_dead(metrics_folder),
    )
    return await _run(supervisor, settings, errand)


async def _run(
    supervisor: Supervisor, settings: Settings, errand: Callable[[Settings], Awaitable[bool]] | None
) -> bool:
    running = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(supervisor.wait_ready())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    try:
        return await errand(settings) if errand is not None and not running.done() else True
    finally:
        if errand is not None:
            supervisor.stop()
        await running


def _children(settings: Settings, environment: dict[str, str]) -> list[ChildSpec]:
    """PostgreSQL first, when it is ours; then everything that needs it."""
    specs: list[ChildSpec] = []
    needs: tuple[str, ...] = ()
    if not settings.database_url:
        postgres = EmbeddedPostgres.of(settings)

        async def bring_up_to_date() -> None:
            await migrate(postgres.url())

        specs.append(
            ChildSpec(
                "postgres",
                postgres.command,
                is_ready=postgres.is_ready,
                once_ready=bring_up_to_date,
                stop_signal=STOP_SIGNAL,
                death_signal=STOP_SIGNAL,
                stop_timeout_s=20,
                chatter=("LOG:", "DETAIL:", "HINT:"),
            )
        )
        needs = ("postgres",)

    def role(name: str, command: str, *, is_ready: Callable[[], Awaitable[bool]] | None = None) -> ChildSpec:
        argv = (sys.executable, "-m", "emeterai", command)
        return ChildSpec(
            name,
            ChildCommand(argv, environment=environment, folder=Path.cwd()),
            needs=() if command == "sandbox" else needs,
            chatter=("INFO - ",),  # of the server, before it has read how to log
            is_ready=is_ready,
        )

    def web(name: str, port: int) -> ChildSpec:
        return role(name, name, is_ready=lambda: _answers(f"http://{settings.host}:{port}/readyz"))

    sandbox_url = settings.sandbox_url
    return [
        *specs,
        *(
            [role("sandbox", "sandbox", is_ready=lambda: _answers(f"{sandbox_url}/healthz"))]
            if "sandbox" in settings.payment_provider_names
            else []
        ),
        web("web", settings.port),
        *([web("room", settings.room_port)] if settings.room_port else []),
        *([web("counter", settings.counter_port)] if settings.counter_port else []),
        *(role(f"sealer-{number}", "sealer") for number in range(1, settings.sealer_processes + 1)),
        role("steward", "steward"),
    ]


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False, verify=trusted()) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


def _ports_of(settings: Settings) -> dict[str, int]:
    """Where the children will listen, by the variable that chooses the port."""
    ports = {
        "PORT": settings.port,
        "SANDBOX_PORT": settings.sandbox_port_used if "sandbox" in settings.payment_provider_names else 0,
        "ROOM_PORT": settings.room_port,
        "COUNTER_PORT": settings.counter_port,
    }
    return {variable: port for variable, port in ports.items() if port}


def _refuse_equal_ports(ports: Mapping[str, int]) -> None:
    """Nobody listens yet, so the system would not notice before one child dies of the other. Raises SupervisorError."""
    variables: dict[int, str] = {}
    for variable, port in ports.items():
        first = variables.setdefault(port, variable)
        if first != variable:
            raise SupervisorError(
                f"{PREFIX}{first} and {PREFIX}{variable} are both {port} (unless set, SANDBOX_PORT is the one after "
                f"PORT). Choose another: make run {variable}=N, or set {PREFIX}{variable}"
            )


def _refuse_taken_port(host: str, port: int, variable: str) -> None:
    """Say at once, and in words, what would otherwise be a crash of a child. Raises SupervisorError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SupervisorError(
                f"cannot listen on {host} port {port} ({error.strerror}). Choose another: make run {variable}=N, "
                f"or set {PREFIX}{variable}"
            ) from error


def serve_web(settings: Settings) -> None:
    """Answer pages and API on `port` until told to stop."""
    _listen("emeterai.app:create_served_app", settings, settings.port, files=served_files(gate_folder(settings)))


def serve_room(settings: Settings) -> None:
    """Answer those outside on `room_port` until told to stop. Raises SettingsError without such a port."""
    _listen_apart("room", settings, settings.room_port)


def serve_counter(settings: Settings) -> None:
    """Answer programs with keys on `counter_port` until told to stop. Raises SettingsError without such a port."""
    _listen_apart("counter", settings, settings.counter_port)


def _listen_apart(role: str, settings: Settings, port: int) -> None:
    """One process, which answers everything, on a port of its own."""
    if not port:
        raise SettingsError(f"{PREFIX}{role.upper()}_PORT: the {role} needs a port of its own")
    files = served_files(gate_folder(settings))
    _listen(f"emeterai.app:create_served_{role}", settings, port, processes=1, files=files)


def serve_sandbox(settings: Settings) -> None:
    """Play the payment provider until told to stop."""
    _listen("emeterai.app:create_served_sandbox", settings, settings.sandbox_port_used, processes=1)


def _listen(
    target: str, settings: Settings, port: int, *, processes: int | None = None, files: Mapping[str, Path] | None = None
) -> None:
    """`files` are handed out by the server itself, without any of our code: an address and its file each.

    HTTP/1.1 alone, which proxies speak: a connection is one request at a time, so bounding those bounds these.
    """
    connections_max = _connections_allowed()
    Granian(
        target,
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=processes or settings.web_processes,
        loop=Loops.uvloop,
        factory=True,
        http=HTTPModes.http1,
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=0.2,
        workers_kill_timeout=5,
        backlog=4096,
        backpressure=connections_max,
        static_path_route=list(files or {}),
        static_path_mount=list((files or {}).values()),
        static_path_expires=CACHE_S,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=logging_config(settings.log_format, settings.log_level),
    ).serve()


def _connections_allowed() -> int:
    """Let this process and its children have as many files open as all connections and all else need, as far as the
    system allows; answers how many connections leave enough of them for all else.
    """
    wanted = _CONNECTIONS_MAX + _OTHER_FILES_MAX
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if usual != resource.RLIM_INFINITY and usual < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    connections = max(_CONNECTIONS_MIN, allowed - _OTHER_FILES_MAX)
    if connections < _CONNECTIONS_MAX:
        _log.warning("few_open_files_allowed", allowed=allowed, wanted=wanted, connections=connections)
    return connections
