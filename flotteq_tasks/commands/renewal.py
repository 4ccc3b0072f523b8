"""What the host itself does to keep its certificates: renew, check, put into use, compare, put back, tell."""

from collections.abc import Iterable

from flotteq_tasks.commands.certbot import KEY_READERS
from flotteq_tasks.commands.shell import Command, script

# Of certificate and key as nginx is given them.
KEY_MODE = 0o640
# How the last renewal ended, in the state directory.
RESULT = "certificate.json"

# Each place below certs/ whose link leads to a certificate of an authority, and what certbot calls that one.
_IN_USE = """
places=
for link in certs/current certs/names/*/current; do
  case $(readlink "$link" 2>/dev/null || true) in rel-*) places="$places ${link%/current}" ;; esac
done
[ -n "$places" ] || { say "no certificate of an authority is in use: inv ssl.init"; exit 1; }
called() { case $1 in certs) echo "$shared" ;; *) echo "${1##*/}" ;; esac; }
# An engine may never answer, and the job has the host's lock. In the foreground: what ends the job ends this, too.
within() { timeout --foreground --kill-after=10 "$@"; }
# Twice what certbot gets from `inv ssl.renew`: nobody watches.
with_name() { within 600 sh -c "exec $1 --cert-name \\"\\$1\\"" certbot "$2"; }
"""

_JOB = """
directory=$1 shared=$2 port=$3 keep=$4 limit=$5 names=$6 mode=$7 group=$8 metrics=$9
shift 9
stack=$1 renew=$2
shift 2
cd "$directory"
work=$(mktemp -d)
trap finish EXIT
trap 'exit 143' HUP INT TERM
say() { echo "$*" >&2; }
finish() {
  ended=$?
  # Whatever becomes of these, the exit code is the job's.
  set +e
  moment=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  printf '{"at": "%s", "what": "schedule renew", "code": %s}\\n' "$moment" "$ended" >state/result.next &&
    mv -f state/result.next "state/RESULT"
  [ -z "$metrics" ] || measure "$ended" || say "metrics: $metrics cannot be written"
  rm -rf "$work"
  exit "$ended"
}
measure() {
  mkdir -p "$metrics" || return 1
  {
    gauge not_after_timestamp_seconds "When the certificate that a name serves ends."
    for name in $names; do moment not_after -enddate "$name"; done
    gauge not_before_timestamp_seconds "When it began: thresholds are shares of its life."
    for name in $names; do moment not_before -startdate "$name"; done
    gauge renewal_last_end_timestamp_seconds "When the renewal last ended."
    echo "flotteq_tls_renewal_last_end_timestamp_seconds{stack=\\"$stack\\"} $(date +%s)"
    gauge renewal_exit_code "Its exit code."
    echo "flotteq_tls_renewal_exit_code{stack=\\"$stack\\"} $1"
  } >"$metrics/.$stack-tls.next" && chmod 644 "$metrics/.$stack-tls.next" &&
    mv -f "$metrics/.$stack-tls.next" "$metrics/$stack-tls.prom"
}
gauge() { printf '# HELP flotteq_tls_%s %s\\n# TYPE flotteq_tls_%s gauge\\n' "$1" "$2" "$1"; }
moment() {
  shown "$3" >"$work/served.pem"
  when=$(openssl x509 -noout "$2" -in "$work/served.pem" 2>/dev/null | cut -d= -f2)
  [ -z "$when" ] ||
    echo "flotteq_tls_$1_timestamp_seconds{stack=\\"$stack\\",name=\\"$3\\"} $(date -d "$when" +%s)"
}
shown() {
  timeout 15 openssl s_client -connect "127.0.0.1:$port" -servername "$1" </dev/null 2>/dev/null |
    openssl x509 2>/dev/null || true
}
serial() { openssl x509 -noout -serial "$@" 2>/dev/null || true; }
# Whether every name of a place that the edge answers for serves the certificate of a directory, at the latest then.
served() {
  wanted=$(serial -in "$1/$2/fullchain.pem")
  for name in $(names_of "$1"); do
    case " $alive " in *" $name "*) ;; *) continue ;; esac
    until [ -n "$wanted" ] && [ "$(shown "$name" | serial)" = "$wanted" ]; do
      # The old workers may still answer for a moment.
      [ "$(date +%s)" -lt "$3" ] || { say "$name does not serve the certificate of $2"; return 1; }
      sleep 0.2
    done
  done
}
held() { openssl x509 -noout -ext subjectAltName -in "$1" 2>/dev/null | tr ',' '\\n' | sed -n 's/^ *DNS://p'; }
has() { openssl x509 -noout -checkhost "$2" -in "$1" 2>/dev/null | grep -q 'does match'; }
# Where each name has a certificate of its own; what is left is served with that of all names.
names_of() {
  case $1 in certs) ;; *) echo "${1##*/}"; return ;; esac
  for name in $names; do case " $places " in *" certs/names/$name "*) ;; *) echo "$name" ;; esac; done
}
fit() {
  live=certbot/conf/live/$(called "$1") used=$1/$2/fullchain.pem
  chain=$live/fullchain.pem key=$live/privkey.pem
  unfit() { say "the certificate in $directory/$live is not fit: $*"; return 1; }
  [ -s "$chain" ] && [ -s "$key" ] || { unfit "fullchain.pem or privkey.pem is missing"; return 1; }
  case $(stat -L -c %a "$key") in
  *0) ;;
  *) unfit "privkey.pem may be read by others: chmod 600 $directory/$key"; return 1 ;;
  esac
  openssl x509 -noout -pubkey -in "$chain" >"$work/one" 2>/dev/null || { unfit "fullchain.pem is none"; return 1; }
  openssl pkey -pubout -in "$key" >"$work/other" 2>/dev/null || { unfit "privkey.pem is none"; return 1; }
  cmp -s "$work/one" "$work/other" || { unfit "the key does not belong to it"; return 1; }
  rm -f "$work/rest.pem"
  awk -v first="$work/leaf.pem" -v rest="$work/rest.pem" \\
    '/BEGIN CERT/ {n++} n == 1 {print >first} n > 1 {print >rest}' "$chain"
  if [ -s "$work/rest.pem" ]; then
    # Dates of both as well.
    said=$(openssl verify -partial_chain -trusted "$work/rest.pem" "$work/leaf.pem" 2>&1) ||
      { unfit "$(echo "$said" | sed -n 's/^error \\(.*\\)/\\1/p' | head -n 1)"; return 1; }
  else
    openssl x509 -noout -checkend 0 -in "$chain" >/dev/null || { unfit "it has expired"; return 1; }
  fi
  # It must have what the one in use has; every name where that one cannot be read.
  named=$(held "$used" | head -n 1)
  for name in $(names_of "$1"); do
    has "$chain" "$name" || { [ -n "$named" ] && ! has "$used" "$name"; } ||
      { unfit "it is not valid for $name"; return 1; }
  done
}
point() { ln -sfn "$2" "$1/current.next"; mv -fT "$1/current.next" "$1/current"; }
put() {
  install -d -m 750 -g "$group" "$1/$2"
  install -m "$mode" -g "$group" "$live/fullchain.pem" "$live/privkey.pem" "$1/$2/"
}
prune() {
  find "$1" -maxdepth 1 -type d -name 'rel-*' | sort -r | tail -n +"$((keep + 1))" | while IFS= read -r old; do
    [ "$old" = "$1/$2" ] || rm -rf -- "$old"
  done
}
previous() { cat "$work/$(called "$1").previous"; }
command -v openssl >/dev/null || { say "nothing checks certificates on this host: apt-get install openssl"; exit 1; }
IN_USE
# Those of the ones in use as well: a name may have been ordered after this was written.
names=$({ echo "$names" | tr ' ' '\\n'; for place in $places; do held "$place/current/fullchain.pem"; done; } | sort -u)
# A name that was taken from the edge meanwhile shows nothing, before and after.
alive=
for name in $names; do [ -z "$(shown "$name")" ] || alive="$alive $name"; done
[ -n "$alive" ] || alive=$(echo "$names" | tr '\\n' ' ')
code=0 changed='' again=''
target=rel-$(date -u +%Y%m%dT%H%M%SZ)
for place in $places; do
  readlink "$place/current" >"$work/$(called "$place").previous"
  live=certbot/conf/live/$(called "$place")
  with_name "$renew" "$(called "$place")" ||
    { code=1; say "certbot did not renew $(called "$place"); $(previous "$place") stays in use"; }
  if cmp -s "$live/fullchain.pem" "$place/current/fullchain.pem" &&
    cmp -s "$live/privkey.pem" "$place/current/privkey.pem"; then
    if ! served "$place" "$(previous "$place")" 0 2>/dev/null; then
      say "$(called "$place"): $(previous "$place") is in use but not served: the edge reads it again"
      again="$again $place"
    fi
  elif fit "$place" "$(previous "$place")"; then
    put "$place" "$target"
    changed="$changed $place"
  else
    code=1
    say "$(previous "$place") stays in use"
  fi
done
if [ -z "$changed$again" ]; then
  [ "$code" != 0 ] || echo "not yet due; nothing changed"
  exit "$code"
fi
for place in $changed; do point "$place" "$target"; done
wrong=''
# nginx tests the files and has 15 seconds to take them.
if within 60 "$@"; then
  end=$(($(date +%s) + limit))
  for place in $again; do served "$place" "$(previous "$place")" "$end" || code=1; done
  for place in $changed; do served "$place" "$target" "$end" || wrong="$wrong $place"; done
else
  wrong=$changed
  [ -n "$changed" ] || exit 1
fi
for place in $changed; do
  case " $wrong " in *" $place "*) continue ;; esac
  echo "the certificate $(called "$place") of $target is in use"
  prune "$place" "$target"
done
[ -n "$wrong" ] || exit "$code"
for place in $wrong; do point "$place" "$(previous "$place")"; done
within 60 "$@" || { say "neither the new certificates nor the previous ones could be put into use:$wrong"; exit 4; }
for place in $wrong; do
  rm -rf "${place:?}/$target"
  say "the new certificate $(called "$place") could not be put into use, $(previous "$place") is served again"
done
exit 3
""".replace("RESULT", RESULT).replace("IN_USE", _IN_USE.strip())


def job(
    directory: str,
    *,
    shared: str,
    names: Iterable[str],
    renew: Command,
    reload: Command,
    stack: str,
    metrics: str = "",
    port: int = 443,
    keep: int = 3,
    limit: int = 15,
    readers: str = KEY_READERS,
) -> Command:
    """Renew what is due and put certbot's newest certificates into use, unless they are; what fails is put back.

    It is about those that are linked below ``certs/``, whatever the layout, each for itself; the edge is reloaded once.
    Key, chain, dates and names are checked before nginx is told; afterwards what every name serves. A name that the
    certificate in use does not have (it was issued for a part) need not be in the new one.
    Exit codes, the gravest of all certificates: 0 in use or not due, 1 not renewed or not fit, 3 put back, 4 not put
    back.

    Args:
        directory: the project directory on the host.
        shared: what certbot calls the certificate of all names; one of a single name is called like it.
        names: public names; those of the certificates in use count as well.
        renew: one program that lets certbot renew; ``--cert-name`` and a name are added.
        reload: lets the edge test and take it.
        stack: project and environment, as the metrics are labelled.
        metrics: directory of Prometheus' textfile collector; empty: none.
        port: of the edge on the host.
        keep: how many ``rel-*`` directories stay.
        limit: seconds until every name must serve it.
        readers: group that may read it.
    """
    return script(
        _JOB, directory, shared, port, keep, limit, " ".join(names), f"{KEY_MODE:o}", readers, metrics,
        stack, renew.render(), reload.argv(),
    )  # fmt: skip


_REHEARSAL = """
directory=$1 shared=$2 rehearse=$3
cd "$directory"
say() { echo "$*" >&2; }
IN_USE
code=0
for place in $places; do
  with_name "$rehearse" "$(called "$place")" || { code=1; say "the rehearsal for $(called "$place") failed"; }
done
exit "$code"
""".replace("IN_USE", _IN_USE.strip())


def rehearsal(directory: str, *, shared: str, rehearse: Command) -> Command:
    """Rehearse the renewal of every certificate in use; exit code 1 when one fails.

    Args:
        directory, shared: as in ``job``.
        rehearse: one program that lets certbot rehearse; ``--cert-name`` and a name are added.
    """
    return script(_REHEARSAL, directory, shared, rehearse.render())


_READY = """
command -v openssl >/dev/null
"""


def ready() -> Command:
    """Whether the host has what the job needs."""
    return script(_READY)


_NOTE = """
mkdir -p "$1/state"
printf '{"at": "%s", "what": "%s", "code": %s}\\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$2" "$3" >"$1/state/result.next"
mv -f "$1/state/result.next" "$1/state/$4"
"""


def note(directory: str, what: str, code: int) -> Command:
    """Write down how a renewal ended, where ``RESULT`` is read.

    Args:
        directory: the project directory on the host.
        what: the task.
        code: its exit code.
    """
    return script(_NOTE, directory, what, code, RESULT)
