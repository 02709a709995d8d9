"""An assembler for the classic BPF that seccomp runs: enough to compare a call's number and its arguments.

A program is a list of instructions; jumps name labels and are resolved at the end. Conditional jumps of BPF reach 255
instructions far, so those between blocks are made of a short conditional jump over a long unconditional one.

What the program reads is `struct seccomp_data`:

    offset 0   int    nr           number of the call
           4   u32    arch         audit number of the machine
           8   u64    instruction_pointer
          16   u64    args[6]      each as low and high half on a little-endian machine
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

NUMBER_OFFSET = 0
ARCH_OFFSET = 4
INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS


def argument_offset(index: int) -> int:
    """Where the low half of an argument stands."""
    return 16 + 8 * index


@dataclass(slots=True)
class Program:
    """Instructions under construction: (code, jump if true, jump if false, operand), and where jumps go by label."""

    _instructions: list[tuple[int, int, int, int]] = field(default_factory=list)
    _jumps: dict[int, str] = field(default_factory=dict)
    _labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> None:
        assert name not in self._labels
        self._labels[name] = len(self._instructions)

    def load(self, offset: int) -> None:
        self._instructions.append((_LOAD, 0, 0, offset))

    def mask(self, bits: int) -> None:
        self._instructions.append((_AND, 0, 0, bits))

    def give(self, verdict: int) -> None:
        self._instructions.append((_RETURN, 0, 0, verdict))

    def jump(self, label: str) -> None:
        self._jumps[len(self._instructions)] = label
        self._instructions.append((_JUMP, 0, 0, 0))

    def unless_equal(self, value: int, label: str) -> None:
        """Go to `label` unless the accumulator is `value`."""
        self._instructions.append((_JUMP_EQUAL, 1, 0, value))
        self.jump(label)

    def if_equal(self, value: int, label: str) -> None:
        self._instructions.append((_JUMP_EQUAL, 0, 1, value))
        self.jump(label)

    def if_at_least(self, value: int, label: str) -> None:
        self._instructions.append((_JUMP_AT_LEAST, 0, 1, value))
        self.jump(label)

    def assemble(self) -> bytes:
        """The program as an array of `struct sock_filter`."""
        assert len(self._instructions) <= INSTRUCTIONS_MAX
        out = bytearray()
        for index, (code, if_true, if_false, operand) in enumerate(self._instructions):
            if index in self._jumps:
                operand = self._labels[self._jumps[index]] - index - 1
                assert operand >= 0, "BPF jumps forward only"
            out += struct.pack("=HBBI", code, if_true, if_false, operand)
        return bytes(out)
