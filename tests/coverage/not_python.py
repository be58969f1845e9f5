"""Not Python: compiled programs, other interpreters, and calls past them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.coverage.case import Case

_C = r"""
#include <stdio.h>
int main(void) {
    char text[4096];
    FILE *in = fopen("data.txt", "r"), *out = fopen("out.txt", "w");
    if (!in || !out) return 1;
    size_t count = fread(text, 1, sizeof text, in);
    return fwrite(text, 1, count, out) != count || fclose(out) || !count;
}
"""
_CPP = r"""
#include <fstream>
#include <string>
int main() {
    std::ifstream in("data.txt");
    std::ofstream out("out.txt");
    std::string line;
    while (std::getline(in, line)) out << line << '\n';
    return out.good() ? 0 : 1;
}
"""
# No libc in between, as in Go's runtime; AT_FDCWD is -100.
_CALLS = r"""
#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d) {
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}
enum { READ = 0, WRITE = 1, OPENAT = 257, EXIT = 231 };
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
enum { READ = 63, WRITE = 64, OPENAT = 56, EXIT = 94 };
#endif
static int work(void) {
    static char text[4096];
    long in = call(OPENAT, -100, (long)"data.txt", 0, 0);
    long out = call(OPENAT, -100, (long)"out.txt", 01101, 0644);
    long count = call(READ, in, (long)text, sizeof text, 0);
    return count <= 0 || call(WRITE, out, (long)text, count, 0) != count;
}
"""
_RAW = _CALLS + "int main(void) { return work(); }\n"
_BARE = _CALLS + "void _start(void) { call(EXIT, work(), 0, 0, 0); __builtin_unreachable(); }\n"
# The note by which `go version` and `file` know what the Go linker made.
_GO = (
    _BARE
    + r"""
__attribute__((section(".note.go.buildid"), used, aligned(4)))
static const struct { int name, size, type; char go[4], id[8]; } note = {4, 8, 4, "Go", "abcdefg"};
"""
)
_RUST = """
fn main() {
    let text = std::fs::read("data.txt").unwrap();
    std::fs::write("out.txt", text).unwrap();
}
"""
_PERL = """
open(my $in, "<", "data.txt") or die;
open(my $out, ">", "out.txt") or die;
print {$out} <$in>;
"""
_NODE = """
const fs = require("fs");
fs.writeFileSync("out.txt", fs.readFileSync("data.txt"));
"""
_CTYPES = """
import ctypes
libc = ctypes.CDLL(None)
descriptor = libc.open(b"data.txt", 0)
assert libc.read(descriptor, ctypes.create_string_buffer(9), 9) == 9
"""


_WATCHED = {"audit": "RW"}
_UNWATCHED = {"native": "RW", "audit": "RW"}
_STATIC = "it is linked statically"
_NO_EVENT = "no program was seen to do it: out.txt"


def _program(
    name: str,
    language: str,
    source: str,
    *,
    missed: Mapping[str, str] = _WATCHED,
    native: str = _STATIC,
    **options,
) -> Case:
    """Copy data.txt to out.txt; `native` is how the native observer names a miss."""
    words = {"native": native, "audit": "the compiled program `"}
    return Case(
        name,
        source,
        reads=("data.txt",),
        writes=("out.txt",),
        language=language,
        missed=missed,
        named={observer: word for observer, word in words.items() if observer in missed},
        **options,
    )


CASES = (
    _program("C, fopen", "c", _C),
    _program("C++, ifstream", "c++", _CPP),
    _program("C, linked statically", "c", _C, flags=("-static",), missed=_UNWATCHED),
    _program("raw system calls, as Go makes them", "c", _RAW, missed=_UNWATCHED, native=_NO_EVENT),
    _program("Rust", "rust", _RUST),
    _program("perl", "perl", _PERL),
    _program("node", "node", _NODE),
    _program("cp", "command", "cp data.txt out.txt", missed={"audit": "W"}),
    Case("ctypes calling open", _CTYPES, reads=("data.txt",), missed={"audit": "R"}),
    # Beyond the 57.
    _program(
        "raw system calls, no libc at all",
        "c",
        _BARE,
        flags=("-static", "-nostdlib"),
        missed=_UNWATCHED,
        counted=False,
    ),
    _program(
        "C, linked statically, started by a script",
        "c",
        _C,
        flags=("-static",),
        child=True,
        missed=_UNWATCHED,
        counted=False,
    ),
    _program(
        "a program with Go's build id, started by a script",
        "c",
        _GO,
        flags=("-static", "-nostdlib"),
        child=True,
        missed=_UNWATCHED,
        native="programs in Go",
        counted=False,
    ),
)
