# What runs on the board, sent by remote.py after lines that set size, requirement, default, marker and "$@".
# Standard input goes on with an archive of that size. Then it stays open as long as somebody waits for the profile.

say() { echo "$1" >&2; }
fail() { say "edgedistill: $1"; exit 1; }

# All that was started ends, the folder goes; also when the connection is lost.
clean() {
    trap "" HUP INT TERM PIPE
    # A subshell that has only just begun can miss a TERM, and $watch would then wait for ever.
    kill -KILL $watch 2>/dev/null
    # An SSH server gives each command a process group. Where one does not, the job is named.
    kill -TERM -$$ 2>/dev/null || kill -TERM $work 2>/dev/null
    wait
    rm -rf "$folder"
}

need_python() {
    version=$(python3 -c "import sys; print('Python %d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))" \
        2>/dev/null) || fail "it has ${version:-no python3}; EdgeDistill needs Python 3.10 or later there"
}

find_program() {
    program=$venv/bin/edgedistill
    [ -x "$program" ] || program=$(command -v edgedistill) || {
        need_python
        fail "it has no edgedistill on its PATH or in ~/$place; add --install '$default' here, or run there: \
python3 -m venv ~/$place && ~/$place/bin/pip install '$default'"
    }
}

# The first of pip's two runs brings what was asked for, also where the same version is there; the second what that needs.
install() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || {
        say "making the environment $venv"
        python3 -m venv --clear "$venv" >&2 ||
            fail "python3 -m venv ~/$place failed; it may need: sudo apt install python3-venv"
    }
    say "installing into $venv"
    for how in "--force-reinstall --no-deps" "--progress-bar off"; do
        "$venv/bin/python" -m pip install --disable-pip-version-check $how "$requirement" >&2 2>"$folder/pip" ||
            fail "pip could not install $requirement: $(tail -n 1 "$folder/pip")"
    done
    program=$venv/bin/edgedistill
}

measure() {
    [ -z "$requirement" ] || install
    say "measuring with $program"
    exec "$program" profile "$folder/palette" --json "$@" >/dev/null
}

place=.local/share/edgedistill/venv
venv=$HOME/$place
folder='' work='' watch=''
trap clean EXIT
trap "exit 1" HUP INT TERM PIPE

if [ -z "$requirement" ]; then
    find_program
elif ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    need_python
fi

# Not first /tmp, which may be memory: the palette would take from what is measured.
for parent in "$TMPDIR" /var/tmp /tmp; do
    [ -d "$parent" ] && [ -w "$parent" ] && break
done
folder=$(mktemp -d "$parent/edgedistill.XXXXXX") || fail "no folder can be made in $parent; is its disk full?"
# onnxruntime and pip leave files where the first says; a line of an error shall stay one line.
export TMPDIR="$folder" COLUMNS=300
case $requirement in *.whl) requirement="$folder/${requirement}[cpu]" ;; esac

told=$(head -c "$size" | tar -xf - -C "$folder" 2>&1) ||
    fail "the palette cannot be written to $parent, which needs $((size / 1000000 + 1)) MB free: ${told%%
*}"

exec 3<&0
{ cat; kill -TERM $$; } <&3 >/dev/null 2>&1 &
watch=$!
measure "$@" 3<&- </dev/null &
work=$!
wait $work
status=$?
case $status in
0) ;;
1 | 2) exit 1 ;; # it has told why
126 | 127) fail "$program cannot be started; install it there again: --install '$default'" ;;
*) fail "edgedistill profile ended with status $status there; is there enough memory?" ;;
esac
echo "$marker"
cat "$folder"/palette/profiles/*.json
