"""An authority of our own, made by openssl, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .cluster import Cluster, give_to_server_user


class Authority:
    """Its certificate is `root`. Keys are small: they have to last for a test."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._folder.chmod(0o755)
        self.root = self._folder / "root.crt"
        self._key = self._folder / "root.key"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2", "-keyout", self._key, "-out", self.root)

    def sign(self, name: str, alternative: str = "", password: str = "") -> tuple[Path, Path]:
        """Certificate and key for a common name; `alternative` such as "DNS:db.test,IP:127.0.0.1"; the key encrypted by `password`."""
        key, request, certificate = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        protection = ["-aes256", "-passout", f"pass:{password}"] if password else []
        self._openssl("genrsa", *protection, "-out", key, "2048")
        unlock = ["-passin", f"pass:{password}"] if password else []
        self._openssl("req", "-new", "-key", key, *unlock, "-subj", f"/CN={name}", "-out", request)
        names = self._folder / f"{name}.ext"
        names.write_text(f"subjectAltName={alternative}\n" if alternative else "", encoding="ascii")
        self._openssl("x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self._key, "-CAcreateserial", "-days", "2",
                      "-extfile", names, "-out", certificate)
        key.chmod(0o600)
        return certificate, key

    def secure(self, cluster: Cluster, alternative: str) -> None:
        """Before its start."""
        certificate, key = self.sign(f"server-{cluster.name}", alternative)
        for name, path in (("server.crt", certificate), ("server.key", key)):
            copy = cluster.data / name
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o600)
            give_to_server_user(copy)
        ca = cluster.data / "ca.crt"
        ca.write_bytes(self.root.read_bytes())
        give_to_server_user(ca)
        cluster.configure(ssl="on", ssl_cert_file="server.crt", ssl_key_file="server.key", ssl_ca_file="ca.crt")

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
