#!/bin/sh
# Makes a certificate authority and certificates for a trial, with openssl. For production use the authority you have.
#
#   deploy/trial-ca.sh <folder> ca                             an authority: ca.pem, ca-key.pem
#   deploy/trial-ca.sh <folder> member <name> <host>...        <name>.pem, <name>-key.pem: to serve, and to call members
#   deploy/trial-ca.sh <folder> client <common name>           <common name>.pem, <common name>-key.pem: to call
#   deploy/trial-ca.sh <folder> revoke <name>                  that certificate is good no more; renews crl.pem
#   deploy/trial-ca.sh <folder> crl                            renews crl.pem
#
# A host is an IP address or a DNS name, as it stands in the URLs by which others reach the member.
# DAYS=<n> sets how long certificates last (365).
set -eu

usage() {
    sed -n '4,8s/^# *//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
folder=$1
command=$2
shift 2
mkdir -p "$folder"
cd "$folder"
umask 077
days=${DAYS:-365}

# What `openssl ca` needs to know for lists of revoked certificates.
settings() {
    cat >ca.cnf <<END
[ca]
default_ca = trial
[trial]
database = $PWD/index.txt
crlnumber = $PWD/crlnumber
certificate = $PWD/ca.pem
private_key = $PWD/ca-key.pem
default_md = sha256
default_crl_days = $days
crl_extensions = crl
[crl]
authorityKeyIdentifier = keyid:always
END
    [ -f index.txt ] || : >index.txt
    [ -f crlnumber ] || echo 01 >crlnumber
}

# certificate <name> <common name> <usage> <subjectAltName, or nothing>
certificate() {
    {
        echo "basicConstraints = critical, CA:false"
        echo "keyUsage = critical, digitalSignature"
        echo "extendedKeyUsage = $3"
        [ -z "$4" ] || echo "subjectAltName = $4"
    } >"$1.ext"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1-key.pem.new" -out "$1.csr" \
        -subj "/CN=$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -set_serial "0x$(openssl rand -hex 12)" \
        -days "$days" -sha256 -extfile "$1.ext" -out "$1.pem.new" 2>/dev/null
    mv "$1-key.pem.new" "$1-key.pem"
    mv "$1.pem.new" "$1.pem"
    rm -f "$1.csr" "$1.ext"
    echo "$folder/$1.pem $folder/$1-key.pem"
}

need_ca() {
    [ -f ca-key.pem ] || {
        echo "$folder has no authority yet: run '$0 $folder ca' first" >&2
        exit 1
    }
}

case $command in
ca)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem -out ca.pem -sha256 \
        -days "$days" -subj "/CN=Holdfast trial authority" \
        -addext "basicConstraints = critical, CA:true" -addext "keyUsage = critical, keyCertSign, cRLSign" 2>/dev/null
    echo "$folder/ca.pem $folder/ca-key.pem"
    ;;
member)
    need_ca
    [ $# -ge 2 ] || usage
    name=$1
    shift
    names=
    for host in "$@"; do
        case $host in
        *:*) kind=IP ;;
        *[!0-9.]*) kind=DNS ;;
        *) kind=IP ;;
        esac
        names=$names${names:+,}$kind:$host
    done
    certificate "$name" "$name" "serverAuth, clientAuth" "$names"
    ;;
client)
    need_ca
    [ $# -eq 1 ] || usage
    certificate "$1" "$1" clientAuth ""
    ;;
revoke | crl)
    need_ca
    settings
    if [ "$command" = revoke ]; then
        [ $# -eq 1 ] || usage
        openssl ca -config ca.cnf -revoke "$1.pem" 2>/dev/null
    fi
    openssl ca -config ca.cnf -gencrl -out crl.pem.new 2>/dev/null
    mv crl.pem.new crl.pem
    echo "$folder/crl.pem"
    ;;
*)
    usage
    ;;
esac
