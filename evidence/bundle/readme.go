package bundle

const aboutRecords = `  records/NAME.json         a record, byte for byte as it is in the log
  records/NAME.tlog-proof   the proof of this record, with a signed checkpoint of
                            the log in it (format: c2sp.org/tlog-proof)
`

const aboutRange = `  range/records.ndjson      records, one a line
  range/older.checkpoint    a signed checkpoint: the log before these records
  range/newer.checkpoint    a signed checkpoint: the log after them
  range/edge                hashes from which the older root is computed
`

const aboutAll = `  range/records.ndjson      records, one a line, from the first one of the log
  range/newer.checkpoint    a signed checkpoint: the log after them
`

const aboutPolicy = `  policy                    whose signatures are meant (format: c2sp.org/tlog-policy)
`

const recordsShow = `  Each record was in the log when the log signed the checkpoint in its proof. It
  had exactly these bytes, and it stood at the index in the proof. The names of
  the files prove nothing.
`

const rangeShows = `  range/records.ndjson has all records that %s got
  from record %d (counted from 0) until it had %d records, in their order, and
  no other ones.
`

const showsNot = `  * That a record says the truth. It shows what was recorded.
  * That everything was recorded.
  * Who wrote a record.
  * That the log shows the same records to everybody. For that compare checkpoints
    with others, or ask for a log that has witnesses.
`

const notComplete = `  * That there are no other records. Others may be left out here.
`

const keysFromElsewhere = `  Anybody can write keys here. Get the key separately from this evidence, from
  somebody whom you trust, and compare it. If you use the key from here, the check
  shows nothing.
`

const withCheck = `
Check it with auditsql

    auditsql check . --key KEY

  KEY is the log's key. To require witnesses too, use --policy FILE instead, with
  a policy that you trust. Exit code 0: proven. 5: refuted. 1: undecided, so this
  shows nothing yet.
`

const severalKeys = `  There are several keys above: repeat --key for each of them that you trust.
`

const byHand = `
Check it by hand

  The lines below need OpenSSL 3 and a POSIX shell. Read them, save them as
  check.sh, and run them for each record:

    sh check.sh KEY records/%s.json records/%s.tlog-proof

%s`

// ByHand is a shell script that checks one record with OpenSSL. It stands in the README of each bundle.
const ByHand = `set -eu
key=$1 record=$2 proof=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
plain() { printf %s "$1" | openssl base64 -d -A; }
sha() { openssl dgst -sha256 -binary; }

# The checkpoint comes after the first empty line of the proof. Its first three
# lines are what the log signed: its name, how many records it has, the root.
sed '1,/^$/d' "$proof" > "$work/checkpoint"
sed '/^$/,$d' "$work/checkpoint" > "$work/signed"
origin=$(sed -n 1p "$work/signed")
size=$(sed -n 2p "$work/signed")
root=$(sed -n 3p "$work/signed")
test "$(wc -l < "$work/signed")" -eq 3

# 1. The log signed these lines. A key is NAME+ID+BASE64, and its last 32 bytes
#    are the public key. A signature has 64 bytes, after 4 bytes of the id.
public=${key#*+} public=${public#*+}
test "${key%%+*}" = "$origin"
printf '\060\052\060\005\006\003\053\145\160\003\041\000' > "$work/key.der"
plain "$public" | tail -c 32 >> "$work/key.der"
signed=no
for signature in $(grep -F -e "— $origin " "$work/checkpoint" | sed 's/.* //'); do
  plain "$signature" | tail -c 64 > "$work/signature"
  if openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
    -in "$work/signed" -sigfile "$work/signature" > "$work/said" 2>&1; then
    signed=yes
  fi
done
test $signed = yes

# 2. The record leads to the root. A leaf is the hash of a zero byte and the
#    record, a node is the hash of a one byte and its two children.
test "$(sed -n 1p "$proof")" = c2sp.org/tlog-proof@v1
index=$(sed -n '2s/^index //p' "$proof")
for number in "$index" "$size"; do
  case $number in '' | 0?* | *[!0-9]*) exit 1 ;; esac
done
{ printf '\0'; cat "$record"; } | sha > "$work/node"
at=$index last=$((size - 1))
test $at -le $last
for hash in $(sed '1,2d' "$proof" | sed '/^$/,$d'); do
  plain "$hash" > "$work/sibling"
  test $last -gt 0
  if [ $((at % 2)) -eq 1 ] || [ $at -eq $last ]; then
    while [ $((at % 2)) -eq 0 ]; do at=$((at / 2)) last=$((last / 2)); done
    { printf '\1'; cat "$work/sibling" "$work/node"; } | sha > "$work/next"
  else
    { printf '\1'; cat "$work/node" "$work/sibling"; } | sha > "$work/next"
  fi
  mv "$work/next" "$work/node"
  at=$((at / 2)) last=$((last / 2))
done
test $last -eq 0
test "$(openssl base64 -A -in "$work/node")" = "$root"
echo "proven: record $index of the $size that $origin signed"
`

const rangeByHand = `
Check the range by hand

  docs/proof.md of auditsql has a page of Python for it. In words: compute the
  older root from range/edge, and compare it with range/older.checkpoint. Append
  the leaf of each line of range/records.ndjson to that tree. Compare the root
  with range/newer.checkpoint. Check the signatures of both.
`

const allByHand = `
Check the range by hand

  docs/proof.md of auditsql has a page of Python for it: take range/records.ndjson
  for the export, and range/newer.checkpoint for its checkpoint. In words: make
  the tree of the leaves of all lines. Compare its root with the checkpoint, and
  check the signature.
`
