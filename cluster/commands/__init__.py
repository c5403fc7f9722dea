"""The commands of `cluster`: where it runs."""

from __future__ import annotations

COMMANDS = {
    "submit": "cluster.commands.submit:submit",
    "doctor": "cluster.commands.doctor:doctor",
}
