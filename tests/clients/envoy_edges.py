"""auth, task and chat, each a process on a private PostgreSQL, with the gateway and real Envoy side by side before them."""

import base64
import dataclasses
import glob
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

from conftest import ORIGIN
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIG = REPOSITORY / "deploy/envoy/envoy.yaml"
SECRET = "shared by the processes of this suite alone"
PATIENCE = 60
NOBODY = 65534


def postgres_program(name):
    """Where one of PostgreSQL's programs is, if it is installed; Debian keeps those of servers off the path."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


def envoy_program():
    """Where Envoy is: `ERRAND_ENVOY`, or among the programs of this suite."""
    return os.environ.get("ERRAND_ENVOY") or shutil.which("envoy")


def missing():
    """What this suite needs and this machine lacks."""
    needed = {"PostgreSQL": postgres_program("initdb"), "Envoy": envoy_program()}
    return [name for name, path in needed.items() if not path]


def free_port():
    """A port that nobody has, outside of those that clients are given."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def own_address():
    """The address of this machine, by which it would call others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return asking.getsockname()[0]


class Process:
    """A process that is ended with this object, and its log."""

    def __init__(self, folder, name, command, environment=None, **options):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                **options,
            )

    def until(self, done, what):
        """Asks until it is done."""
        end = time.monotonic() + PATIENCE
        while not (answer := done()):
            assert self.child.poll() is None, f"{self.name} ended:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"{self.name}: {what}:\n{self.log.read_text()}"
            time.sleep(0.02)
        return answer

    def stop(self, signal="terminate"):
        """Ends it; answers its exit code."""
        if self.child.poll() is None:
            getattr(self.child, signal)()
            try:
                return self.child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()


class Cluster:
    """A private PostgreSQL with Errand's roles; root starts it as somebody else, for it refuses to run as root."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="errand-envoy-pg-", dir="/tmp"))
        self.options = {}
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
            self.options = {"user": NOBODY, "group": NOBODY}
        initdb = [postgres_program("initdb"), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self.run([*initdb, "--no-sync", "-D", self.folder / "data"], **self.options)
        self.port = free_port()
        command = [postgres_program("postgres"), "-D", self.folder / "data", "-k", self.folder, "-p", self.port]
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "shared_buffers=32MB"]:
            command += ["-c", setting]
        log = pathlib.Path(tempfile.mkdtemp(prefix="errand-envoy-log-"))
        self.postmaster = Process(log, "postgres", command, **self.options)
        ready = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        self.postmaster.until(lambda: subprocess.run(ready, check=False).returncode == 0, "it takes no connections")
        self.psql("-c", "CREATE DATABASE errand", database="postgres")
        self.psql("-f", str(REPOSITORY / "deploy/postgres/roles.sql"))

    @staticmethod
    def run(command, **options):
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, cwd="/", check=False, **options
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def psql(self, *arguments, database="errand"):
        """Runs what psql is told, as the superuser; answers what it prints."""
        command = [postgres_program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]
        return self.run([*command, "-h", "127.0.0.1", "-p", self.port, "-d", database, *arguments])

    def url(self, role):
        return f"postgres://errand_{role}@127.0.0.1:{self.port}/errand"

    def stop(self):
        # A server that keeps nothing need not say goodbye.
        self.postmaster.stop("kill")
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.postmaster.log.parent, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Edge:
    """One of the two doors: its name and where it listens."""

    name: str
    port: int

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Envoy:
    """Envoy with the configuration of deploy/envoy, on free ports and with the ports of the roles of this suite."""

    def __init__(self, folder, ports, name="envoy", changes=(), healthy=3):
        text = CONFIG.read_text()
        for before, after in [
            ("port_value: 9901", "port_value: 0"),
            ("port_value: 8000", "port_value: 0"),
            ("port_value: 50051", f"port_value: {ports['auth']}"),
            ("port_value: 50052", f"port_value: {ports['task']}"),
            ("port_value: 50053", f"port_value: {ports['chat']}"),
            ("port_value: 8080", f"port_value: {ports['gateway']}"),
            ("proto_descriptor: deploy/envoy/errand.pb", f"proto_descriptor: {folder}/errand.pb"),
            (r"http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?", ORIGIN),
            *changes,
        ]:
            assert text.count(before) == 1, f"{CONFIG} says {before} {text.count(before)} times"
            text = text.replace(before, after)
        config, admin = folder / f"{name}.yaml", folder / f"{name}.admin"
        config.write_text(text)
        command = [envoy_program(), "--config-path", config, "--admin-address-path", admin]
        command += ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
        self.process = Process(folder, name, command)
        self.admin = self.process.until(lambda: admin.exists() and admin.read_text(), "it names no admin address")
        self.process.until(self.ready, "it is not ready")
        listeners = json.loads(self.ask("/listeners?format=json"))["listener_statuses"]
        self.port = listeners[0]["local_address"]["socket_address"]["port_value"]
        self.process.until(lambda: self.healthy() == healthy, "not all of the roles are healthy")

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def ready(self):
        return self.ask("/ready").startswith("LIVE")

    def healthy(self):
        """How many of the roles pass their health checks."""
        stats = self.ask("/stats?filter=health_check.healthy")
        return len(re.findall(r"cluster\.(?:auth|task|chat)\.health_check\.healthy: 1", stats))


class Edges:
    """The processes of the suite, and its two doors."""

    def __init__(self, binary):
        self.binary = os.path.abspath(binary)
        self.processes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="errand-envoy-"))
        self.cluster = Cluster()
        try:
            self.start()
        except BaseException:
            self.kill()
            raise

    def start(self):
        (self.folder / "errand.pb").write_bytes(self.command("descriptors"))
        self.command("migrate", "up", ERRAND_DATABASE_URL=self.cluster.url("migrate"))
        self.ports = {role: free_port() for role in ["auth", "task", "chat", "gateway"]}
        for role in ["auth", "task", "chat", "gateway"]:
            self.serve(role)
        for process, role in zip(self.processes, self.ports, strict=True):
            url = f"http://127.0.0.1:{self.ports[role]}"
            process.until(lambda url=url: self.asked("healthcheck", "--url", url).returncode == 0, "it is not ready")
        self.envoy = Envoy(self.folder, self.ports)
        self.processes.append(self.envoy.process)
        self.gateway = Edge("gateway", self.ports["gateway"])
        self.doors = [self.gateway, Edge("envoy", self.envoy.port)]
        self.forge = Forge(self.cluster)

    @staticmethod
    def environment(**settings):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ERRAND_")}
        return kept | settings

    def asked(self, *arguments, **settings):
        command = [self.binary, *arguments]
        return subprocess.run(command, env=self.environment(**settings), capture_output=True, check=False)

    def command(self, *arguments, **settings):
        done = self.asked(*arguments, **settings)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def serve(self, role):
        settings = {f"ERRAND_{peer.upper()}_TARGET": f"127.0.0.1:{self.ports[peer]}" for peer in ["auth", "task", "chat"]}
        # Envoy calls a client on its own machine by the machine's address.
        trusted = f"127.0.0.1,{own_address()}"
        settings |= {"ERRAND_LISTEN": f"127.0.0.1:{self.ports[role]}", "ERRAND_TRUSTED_PROXIES": trusted}
        if role == "gateway":
            settings["ERRAND_ALLOWED_ORIGINS"] = ORIGIN
        else:
            settings |= {"ERRAND_DATABASE_URL": self.cluster.url(role), "ERRAND_SECRET_KEY": SECRET}
        self.processes.append(
            Process(self.folder, role, [self.binary, "serve", role], self.environment(**settings))
        )

    def users(self, action, email):
        """What an operator does with an account."""
        settings = {"ERRAND_DATABASE_URL": self.cluster.url("auth"), "ERRAND_SECRET_KEY": SECRET}
        self.command("users", action, email, **settings)

    def end(self, role):
        """Ends one role, if it runs, and waits until both doors know that nobody is there."""
        process = next(process for process in self.processes if process.name == role)
        assert process.stop() == 0, process.log.read_text()
        self.envoy.process.until(lambda: self.envoy.healthy() < 3, "it does not see that a role is gone")

    def stop(self):
        """Ends everything; the roles have to end well."""
        try:
            # Envoy first: it would only complain about the others.
            for process in reversed(self.processes):
                code = process.stop()
                assert code == 0, f"{process.name} ended with {code}:\n{process.log.read_text()}"
                assert "panicked" not in process.log.read_text(), process.log.read_text()
        finally:
            self.kill()

    def kill(self):
        for process in self.processes:
            process.stop("kill")
        self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Forge:
    """Access tokens that auth would not give, signed with its own key, as only somebody with its secret can."""

    def __init__(self, cluster):
        self.kid, sealed = cluster.psql("-c", "SELECT kid, sealed FROM auth.signing_keys").strip().split("|")
        sealed = bytes.fromhex(sealed.removeprefix("\\x"))
        derived = HKDF(hashes.SHA256(), 32, salt=b"", info=b"errand kek").derive(SECRET.encode())
        opened = AESGCM(derived).decrypt(sealed[:12], sealed[12:], self.kid.encode())
        self.key = serialization.load_der_private_key(opened, password=None)

    def token(self, original, key=None, kid=None, header=(), **changes):
        """A token with these claims changed; `None` leaves a claim out."""
        payload = original.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        head = {"typ": "at+jwt", "alg": "ES256", "kid": kid or self.kid} | dict(header)
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = (key or self.key).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(signature)
        return f"{signed}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"

    def expired(self, original):
        """The same, ended before now by more than clocks may differ."""
        now = int(time.time())
        return self.token(original, iat=now - 907, exp=now - 7)

    @staticmethod
    def foreign():
        """A key that Errand does not know."""
        return ec.generate_private_key(ec.SECP256R1())
