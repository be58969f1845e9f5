"""Exportshell: the plain shell of a rebuild by hand; what is the run's own is put in between."""

from __future__ import annotations

HEAD = """\
# Start it in a clone of the repository:
#
#     sh rebuild.sh [FOLDER]
#
# The training happens in FOLDER, which must not exist yet (otherwise in a temporary one), and
# which may be removed afterwards. The clone's files, branches and settings stay as they are; git
# may fetch objects into it. REBUILD_ENV=current uses the active environment, and makes no other.
#
# Exit code: 0 all that decides is identical, 1 it is not, 2 something is not to be had.

set -eu
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY

# Whatever fails on the way is no verdict.
told=
trap '[ $? -eq 0 ] || [ -n "$told" ] || exit 2' EXIT

stop() {  # stop SENTENCE
    printf '%s\\n' "$1" >&2
    exit 2
}

md5_of() {  # md5_of FILE: prints its md5 in hex
    if command -v md5sum >/dev/null 2>&1; then
        md5sum <"$1" | cut -c1-32
    else
        md5 -q <"$1"  # BSD and macOS
    fi
}

has() {  # has MD5 FILE: whether the file is there and has these bytes
    [ -f "$2" ] && [ "$(md5_of "$2")" = "$1" ]
}

readable() {  # readable TEXT: prints it on one line
    printf '%s' "$1" | tr '[:cntrl:]' '?'
}
"""

CLONE = """
clone=$(git rev-parse --show-toplevel) || stop 'Start this in a clone of the repository.'
objects=$(cd "$clone" && cd "$(git rev-parse --git-common-dir)" && pwd)/objects
"""

SHADOW = """
# There was no git repository: the code lies in .mlrepro/code.git, on that machine alone.
clone=$(pwd)
objects=$clone/.mlrepro/code.git/objects
[ -d "$objects" ] || stop 'Start this in the folder of the project, where .mlrepro/code.git is.'
"""

FOLDER = """
if [ $# -gt 0 ]; then
    mkdir -- "$1"
    work=$(cd -- "$1" && pwd)
else
    work=$(mktemp -d)
fi
project=$work/{name}
mkdir -- "$project" "$work/tmp"
printf 'rebuilding in %s\\n' "$work"
"""

FETCH = """
if ! git -C "$clone" cat-file -e "$tree^{tree}" 2>/dev/null; then
    remote=${REBUILD_REMOTE:-origin}
    printf 'fetching the code from %s\\n' "$remote"
    git -C "$clone" fetch --quiet --no-tags "$remote" "$snapshot" 2>/dev/null ||
        git -C "$clone" fetch --quiet --no-tags "$remote" 'refs/mlrepro/code/*' ||
        stop 'The code is neither here nor on the remote; REBUILD_REMOTE=NAME names another one.'
fi
"""

CHECKOUT = """
cd -- "$project"
git init --quiet --template= --object-format="$format" .
mkdir -p .git/objects/info
printf '%s\\n' "$objects" >.git/objects/info/alternates  # borrowed, not copied
git read-tree --reset -u "$tree"
"""

STAND = """\
# HEAD stands where it stood, so that what was modified is seen as modified.
if git cat-file -e "$commit^{commit}" 2>/dev/null; then
    git update-ref --no-deref HEAD "$commit"
    git read-tree "$commit"
fi
"""

OBJECTS = """
# Objects lie under their md5: in DVC's cache, or on its remote, in DVC's own layout, and below
# mlrepro/ in the same layout once more, where `dvc gc` does not reach.
cache=$(cd -- "$clone" && dvc cache dir 2>/dev/null) || cache=
[ -n "$cache" ] || cache=$clone/.dvc/cache
[ -d "$cache" ] || [ ! -d "$clone/.mlrepro/cache" ] || cache=$clone/.mlrepro/cache
store=  # the name of DVC's default remote, asked for when it is needed

take() {  # take MD5 PATH: puts an object at a path (in the project, if relative), and checks it
    case $2 in /*) target=$2 ;; *) target=$project/$2 ;; esac
    object=$(printf '%s' "$1" | cut -c1-2)/$(printf '%s' "$1" | cut -c3-)
    mkdir -p -- "$(dirname -- "$target")"
    rm -f -- "$target"
    for place in mlrepro/files/md5 files/md5; do
        if [ ! -f "$target" ] && [ -f "$cache/$place/$object" ]; then
            cp -- "$cache/$place/$object" "$target"
        fi
    done
    for place in mlrepro/files/md5 files/md5; do
        if [ ! -f "$target" ]; then
            [ -n "$store" ] ||
                store=$(cd -- "$clone" && dvc config core.remote 2>/dev/null) || break
            (cd -- "$clone" && dvc get-url --quiet "remote://$store/$place/$object" "$target") \
                >/dev/null 2>&1 || true
        fi
    done
    has "$1" "$target" || stop "not to be had: $(readable "$2") (md5 $1)"
    chmod u+w -- "$target"
}
"""

PULL = """
pull() {  # pull FILE.dvc: lets DVC bring what the file names
    dvc checkout --quiet "./$1" >/dev/null 2>&1 || dvc pull --quiet "./$1" >/dev/null 2>&1 || true
}

have() {  # have MD5 PATH: checks what DVC brought, and takes the object itself if it must
    has "$1" "$project/$2" || take "$1" "$2"
}
# DVC is to use the clone's cache and private settings; what it brings is the training's own.
[ ! -f "$clone/.dvc/config.local" ] || cp -- "$clone/.dvc/config.local" .dvc/config.local
dvc config --quiet --local cache.dir "$cache"
dvc config --quiet --local cache.type reflink,copy
"""

NEED = """
need() {  # need MD5 PATH: a file outside of the project, which has to be there
    has "$1" "$2" || stop "a file with the md5 $1 has to lie at $(readable "$2")"
}

lend() {  # lend MD5 PATH: a file that nobody keeps, out of the clone
    has "$1" "$clone/$2" || stop "only its author has $(readable "$2") (md5 $1)"
    mkdir -p -- "$(dirname -- "$project/$2")"
    cp -- "$clone/$2" "$project/$2"
}

secret() {  # secret PATH: a file of which only the name was recorded
    case $1 in /*) return 0 ;; esac
    if [ -f "$clone/$1" ]; then
        mkdir -p -- "$(dirname -- "$project/$1")"
        cp -- "$clone/$1" "$project/$1"
    else
        printf 'not here, and maybe needed: %s\\n' "$(readable "$1")"
    fi
}
"""

ACTIVE = """
active=$(command -v python || command -v python3) || stop 'There is no active Python.'
bin=$(cd -- "$(dirname -- "$active")" && pwd)
"""

MAKE = """
if [ "${{REBUILD_ENV:-lock}}" = current ]; then
    active=$(command -v python || command -v python3) || stop 'There is no active Python.'
    bin=$(cd -- "$(dirname -- "$active")" && pwd)
else
    command -v uv >/dev/null 2>&1 ||
        stop 'uv is not installed. Install it, or set REBUILD_ENV=current to use the active Python.'
    cat >"$work/requirements.txt" <<'{end}'
{lock}{end}
    unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
    unset UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT UV_CONSTRAINT UV_OVERRIDE UV_TARGET
    search=$PATH  # and what pyenv has built, where uv does not look by itself
    for built in "${{PYENV_ROOT:-$HOME/.pyenv}}"/versions/*/bin; do
        [ ! -d "$built" ] || search=$search:$built
    done
    UV_PYTHON_SEARCH_PATH=$search uv venv --quiet --python {python} "$work/env" ||
        stop 'The recorded Python is not to be had.'
    bin=$work/env/bin
    uv pip sync --quiet --allow-empty-requirements --python "$bin/python"{options} \\
        "$work/requirements.txt" ||
        stop 'The environment cannot be made; REBUILD_ENV=current uses the active one.'
fi
"""

SPARE = """\
    uv pip install --quiet --python "$bin/python" --no-deps {pin} ||
        printf 'left out, since it is not to be had: %s\\n' {pin}
"""

EDITABLE = """\
    uv pip install --quiet --python "$bin/python" --no-deps --editable {place} ||
        stop "The project's own package cannot be installed."
"""

CLEAR = """
# Of this machine's variables those that steer numerical libraries do not count, but for paths.
for name in $(env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'); do
    case $name in
    OMP_* | GOMP_* | KMP_* | MKL_* | OPENBLAS_* | GOTO_* | BLIS_* | BLAS_* | NUMEXPR_* | \\
        VECLIB_* | NUMBA_* | NPY_* | TBB_* | XLA_* | TF_* | CUBLAS_* | CUDNN_* | TORCH_* | \\
        PYTORCH_* | LC_* | ARROW_* | POLARS_* | DUCKDB_* | RAYON_* | MALLOC_* | TZ | LANG | \\
        LANGUAGE | GLIBC_TUNABLES | PYTHONHASHSEED | PYTHONOPTIMIZE | PYTHONUTF8)
        eval "value=\\$$name"
        case $value in /* | '~'*) ;; *) unset "$name" ;; esac
        ;;
    esac
done
"""

TRAIN = """
printf 'training; what it prints goes to %s and stderr beside it\\n' "$work/stdout"
status=0
cd -- {folder}
{variables} \\
    PATH="$bin:$PATH" VIRTUAL_ENV="${{bin%/bin}}" \\
    TMPDIR="$work/tmp" GIT_CEILING_DIRECTORIES="$work" \\
    {command} \\
    <{stdin} >"$work/stdout" 2>"$work/stderr" || status=$?
if [ "$status" -ne {expected} ]; then
    tail -n 20 "$work/stderr" >&2
    stop "The training ended with $status, and not with {expected}."
fi
"""

COMPARE = """
verdict=identical
compared=0

compare() {  # compare MD5 FILE NAME: says whether a file has the recorded bytes
    if has "$1" "$2"; then
        word=same
    elif [ -f "$2" ]; then
        word=different
    else
        word=missing
    fi
    printf '%-9s  %s\\n' "$word" "$(readable "$3")"
}

decide() {  # decide MD5 PATH: compares what the verdict depends on
    compare "$1" "$project/$2" "$2"
    compared=$((compared + 1))
    [ "$word" = same ] || verdict=different
}

show() {  # show MD5 FILE NAME: compares what is only shown
    compare "$1" "$2" "$3 (shown only)"
}
"""

END = """
[ "$compared" -gt 0 ] || stop 'There is nothing to compare.'
if [ "$verdict" = identical ]; then
    echo identical
else
    echo 'different (mlrepro rebuild tells how far the numbers moved)'
    told=yes
    exit 1
fi
"""
