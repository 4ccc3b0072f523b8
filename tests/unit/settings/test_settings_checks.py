"""Rules across keys: each broken one gives a line with its key path."""
# ruff: noqa: E501 - messages are compared whole, one case a line

import pytest

from flotteq_tasks.settings.checks import check


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('subdomain = "app"', 'subdomain = "api"', "services.frontend-client.subdomain: api.flotteq.com is already the domain of services.backend"),
        ("port = 80\n", "", 'services.frontend-client.port: required key is missing: requests for subdomain "app" go there'),
        ('subdomain = "app"', 'subdomain = "a.b"', 'services.frontend-client.subdomain: "a.b" is no DNS label: use a-z, 0-9 and -, or "@" for the domain itself'),
        ('subdomain = "app"', 'subdomain = "API"', 'services.frontend-client.subdomain: "API" is no DNS label: use a-z, 0-9 and -, or "@" for the domain itself'),
        ('subdomain = "app"', 'subdomain = ""', 'services.frontend-client.subdomain: "" is no DNS label: use a-z, 0-9 and -, or "@" for the domain itself'),
        ('image = "postgres:15"', 'image = "postgres:15"\nport = 5432\nsubdomain = "db"', "services.postgres.subdomain: a service of kind stateful has no public name: remove it"),
        ('"flotteq-frontend-client:1"', '"flotteq-frontend-client"', 'services.frontend-client.image: "flotteq-frontend-client" has no tag and no build: write image = "flotteq-frontend-client:VERSION"'),
        ('"flotteq-frontend-client:1"', '"host:5000/client"', 'services.frontend-client.image: "host:5000/client" has no tag and no build: write image = "host:5000/client:VERSION"'),
        ('"flotteq-backend"', '"flotteq-backend:1"', 'services.backend.image: "flotteq-backend:1" has a tag, but it is built: the version of a deploy is its tag'),
        ('kind = "edge"', 'kind = "tool"', 'services: none has kind = "edge": one must receive the requests of all domains'),
        ('kind = "rolling"\nimage = "flotteq-frontend-client:1"\nport = 80\nsubdomain = "app"', 'kind = "edge"\nimage = "a:1"', 'services.nginx.kind: services.frontend-client is the "edge" already: there is exactly one'),
        ('service = "backend"', 'service = "backnd"', 'migrations.service: no service "backnd", did you mean "backend"?'),
        ('service = "backend"', 'service = "zzz"', 'migrations.service: no service "zzz"; there are: postgres, redis, backend, frontend-client, nginx'),
        ('service = "backend"', 'service = "postgres"', 'migrations.service: services.postgres is of kind "stateful", it must be "rolling"'),
        ('command = ["migrate"]', "command = []", "migrations.command: is empty: write the command and its arguments as an array"),
        ('command = ["migrate"]', 'command = ["a"]\nfirst_install = [[]]', "migrations.first_install: has an empty command"),
        ('command = ["migrate"]', 'command = ["a"]\ntimeout = 0', "migrations.timeout: 0 is less than 1"),
        ("[secrets]", '[database]\nservice = "backend"\n[secrets]', 'database.service: services.backend is of kind "rolling", it must be "stateful"'),
        ("[secrets]", '[database]\ncache = "rediss"\n[secrets]', 'database.cache: no service "rediss", did you mean "redis"?'),
        ("port = 3000", "port = 3000\nreplicas = 0", "services.backend.replicas: 0 is less than 1: `inv stop` stops a service"),
        ("port = 3000", "port = 70000", "services.backend.port: 70000 is no port: 1 to 65535"),
        ('image = "postgres:15"', 'image = "postgres:15"\nreplicas = 2', "services.postgres.replicas: 2 of a service of kind stateful: it runs exactly once"),
        ("port = 3000", 'port = 3000\nmemory = "1 GB"', 'services.backend.memory: "1 GB" is no amount of memory: write it like "512m" or "1g"'),
        ("port = 3000", 'port = 3000\nmemory = "0m"', 'services.backend.memory: "0m" is no amount of memory: write it like "512m" or "1g"'),
        ("port = 3000", 'port = 3000\ncpus = "two"', 'services.backend.cpus: "two" is no number of CPUs: write it like "0.5" or "2"'),
        ("port = 3000", 'port = 3000\ncpus = "0"', 'services.backend.cpus: "0" is no number of CPUs: write it like "0.5" or "2"'),
        ('path = "/api/health"', 'path = "api"', 'services.backend.health.path: "api" is no path: begin it with / and leave out spaces and quotes'),
        ("[secrets]", "[limits]\napi_rate = 0\n[secrets]", "limits.api_rate: 0 would refuse every request: write at least 1, a large number for no limit"),
        ("[secrets]", "[limits]\nupload_mb = -1\n[secrets]", "limits.upload_mb: -1 is less than 1"),
        ("[secrets]", "[limits]\nhsts_seconds = -1\n[secrets]", "limits.hsts_seconds: -1 is less than 0: 0 makes browsers forget it"),
        ("[secrets]", '[limits]\nlogin_paths = ["login"]\n[secrets]', 'limits.login_paths: "login" is no path: begin it with / and use letters, digits and _ . - /'),
        ("[secrets]", "[limits]\nbody_mb = 60\n[secrets]", "limits.upload_mb: 50 is less than limits.body_mb, 60"),
        ("[secrets]", '[server]\nkeys = ["ssh-ed25519"]\n[secrets]', "server.keys: number 1 is no public key: one line like ssh-ed25519 AAAA… name"),
        ("[secrets]", '[server]\nkeys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]\n[secrets]', "server.keys: number 1 is a private key: it takes the .pub file's line"),
        ("[secrets]", "[server]\nopen_tcp = []\n[secrets]", "server.open_tcp: is empty: nobody could reach the edge"),
        ("[secrets]", "[server]\nopen_udp = [0]\n[secrets]", "server.open_udp: 0 is no port: 1 to 65535"),
        ("[secrets]", "[server]\nssh_port = -1\n[secrets]", "server.ssh_port: -1 is no port: 1 to 65535, or 0 for host.port"),
        ("[secrets]", "[server]\nconfirm = 5\n[secrets]", "server.confirm: 5 is less than 10: a login needs some seconds"),
        ("[secrets]", "[backup]\nduty = 0\n[secrets]", "backup.duty: 0.0 is less than 0.01"),
        ("[secrets]", "[backup]\nduty = 1.5\n[secrets]", "backup.duty: 1.5 is more than 1"),
        ("[secrets]", "[server]\nssh_rate = 0\n[secrets]", "server.ssh_rate: 0 is less than 1"),
        ("[secrets]", '[server]\ntrusted_interfaces = ["wg0; accept"]\n[secrets]', 'server.trusted_interfaces: "wg0; accept" is no name of a network interface: ip -brief link'),
        ("[secrets]", '[server]\ndocker_fingerprint = "abc"\n[secrets]', "server.docker_fingerprint: is no fingerprint: 40 of 0-9 and A-F, without spaces"),
        ("[secrets]", '[server]\ndocker = "docker"\n[secrets]', "server.docker_url: is empty: the repository of Docker's packages, which its manual names"),
        ("[secrets]", '[server]\ndocker_url = "http://x"\n[secrets]', 'server.docker_url: "http://x" is no https URL'),
        ("[secrets]", "[edge.timeouts]\nread = 0\n[secrets]", "edge.timeouts.read: 0 is less than 1"),
        ("[secrets]", "[edge.timeouts]\nkeepalive = 3\n[secrets]", "edge.timeouts.keepalive: 3 is less than edge.timeouts.keepalive_min, 5"),
        ("[secrets]", "[edge.sizes]\nopen_files = 5000\n[secrets]", "edge.sizes.open_files: 5000 is less than 8192, two for each connection"),
        ("[secrets]", "[edge.sizes]\ngzip_level = 11\n[secrets]", "edge.sizes.gzip_level: 11 is more than 9"),
        ("[secrets]", '[edge]\ntrusted_proxies = ["0.0.0.0/0"]\n[secrets]', 'edge.trusted_proxies: "0.0.0.0/0" would believe whatever any client says about its address'),
        ("[secrets]", '[edge]\ntrusted_proxies = ["cdn"]\n[secrets]', 'edge.trusted_proxies: "cdn" is no network: write it like "203.0.113.0/24"'),
        ("[secrets]", '[edge]\nipv6_subnet = "10.0.0.0/8"\n[secrets]', 'edge.ipv6_subnet: "10.0.0.0/8" is no IPv6 network: write it like "fd9b:6e4c:21d7::/64"'),
        ("[secrets]", '[edge]\nipv6_subnet = "fd9b:6e4c:21d7::1/64"\n[secrets]', 'edge.ipv6_subnet: "fd9b:6e4c:21d7::1/64" is no IPv6 network: write it like "fd9b:6e4c:21d7::/64"'),
        ("[secrets]", '[edge]\nipv6_subnet = "fe80::/64"\n[secrets]', 'edge.ipv6_subnet: "fe80::/64" is no network for containers: take one of your own, like "fd9b:6e4c:21d7::/64"'),
        ("[secrets]", '[edge]\nipv6_subnet = "fd9b::/32"\n[secrets]', 'edge.ipv6_subnet: "fd9b::/32" must be /48 to /112: 64 is usual'),
        ("[secrets]", '[edge]\nclient_header = "X Real IP"\n[secrets]', 'edge.client_header: "X Real IP" is no name of a header'),
        ("port = 80\n", 'port = 80\npublic = { csp = { scirpt-src = ["https://a.example"] } }\n', 'services.frontend-client.public.csp.scirpt-src: no CSP directive "scirpt-src", did you mean "script-src"?'),
        ("port = 80\n", 'port = 80\npublic = { csp = { script-src = ["unsafe-eval"] } }\n', """services.frontend-client.public.csp.script-src: unsafe-eval needs its single quotes: "'unsafe-eval'\""""),
        ("port = 80\n", """port = 80\npublic = { csp = { script-src = ["'unsave-eval'"] } }\n""", """services.frontend-client.public.csp.script-src: no CSP keyword 'unsave-eval', did you mean "'unsafe-eval'"?"""),
        ("port = 80\n", 'port = 80\npublic = { csp = { script-src = ["https://a.example; x"] } }\n', 'services.frontend-client.public.csp.script-src: "https://a.example; x" is no source: write https://host, *.host, data: or a keyword in single quotes'),
        ("port = 80\n", 'port = 80\npublic = { csp = { script-src = ["*"] } }\n', 'services.frontend-client.public.csp.script-src: "*" is no source: write https://host, *.host, data: or a keyword in single quotes'),
        ("port = 80\n", 'port = 80\npublic = { permissions = ["geolocaton"] }\n', 'services.frontend-client.public.permissions: no browser feature "geolocaton", did you mean "geolocation"?'),
        ("port = 80\n", 'port = 80\npublic = { headers = { X-A = "a\\nSet-Cookie: b" } }\n', "services.frontend-client.public.headers.X-A: has a line break: what follows it would be a header of its own"),
        ("port = 80\n", 'port = 80\npublic = { headers = { "X A" = "a" } }\n', 'services.frontend-client.public.headers."X A": is no name of a header: use letters, digits and -'),
        ("port = 80\n", 'port = 80\npublic = { headers = { content-security-policy = "a" } }\n', "services.frontend-client.public.headers.content-security-policy: Content-Security-Policy is the edge's own: use public.csp"),
        ("port = 80\n", 'port = 80\npublic = { headers = { X-A = "$host" } }\n', "services.frontend-client.public.headers.X-A: may not hold '$': use printable ASCII without quotation marks, backslashes and $"),
        ("port = 80\n", 'port = 80\npublic = { upload_paths = ["/files"] }\n', 'services.frontend-client.public.upload_paths: are for services with vhost = "api"'),
        ("port = 3000", 'port = 3000\nvhost = "api"\npublic = { upload_paths = ["/a b"] }', 'services.backend.public.upload_paths: "/a b" is no path: begin it with / and use letters, digits and _ . - /'),
        ("port = 3000", 'port = 3000\nvhost = "api"\npublic = { permissions = ["camera"] }', 'services.backend.public.permissions: is for services with vhost = "web": an API shows no page'),
        ("[secrets]", '[backup]\nservice = "redis"\n[secrets]', 'backup.service: services.redis is of kind "stateful", it must be "job"'),
        ("[secrets]", "[backup]\nstall = 0\n[secrets]", "backup.stall: 0 is less than 1"),
        ("[secrets]", '[backup.copies.a]\nrepository = "/srv"\npassword = "db_password"\n[secrets]', 'backup.copies.a.repository: "/srv" is none of sftp:…, rest:…, s3:…, b2:…, azure:…, gs:…, swift:…'),
        ("[secrets]", '[backup.copies.a]\nrepository = "rest:https://me:word@h/"\npassword = "db_password"\n[secrets]', "backup.copies.a.repository: has a password in it: put it into a secret and name that in credentials"),
        ("[secrets]", '[backup.copies.a]\nrepository = "sftp:me@h:/b"\n[secrets]', "backup.copies.a.ssh_key: is missing: the secret that holds the private key"),
        ("[secrets]", '[backup.copies.a]\nrepository = "sftp:me@h:/b"\n[secrets]', "backup.copies.a.host_key: must be the server's public key, such as ssh-ed25519 AAAA…: ssh-keyscan -t ed25519 HOST"),
        ("[secrets]", '[backup.copies.a]\nrepository = "s3:https://h/b"\ncredentials = { AWS_ACCESS_KEY_ID = "no_such" }\n[secrets]', 'backup.copies.a.credentials: no secret "no_such": add it to [secrets]'),
        ("[secrets]", '[backup.copies.A_B]\nrepository = "s3:https://h/b"\n[secrets]', 'backup.copies.A_B.repository: "A_B" is no name of a copy: use a-z, 0-9 and -'),
        ("[secrets]", "[deploy]\nretain = 0\n[secrets]", "deploy.retain: 0 is less than 1"),
        ('name = "flotteq"', 'name = "Flotte Q"', 'project.name: "Flotte Q" is no Compose project name: use a-z, 0-9, _ and -'),
        ('domain = "flotteq.com"', 'domain = "https://flotteq.com"', 'project.domain: "https://flotteq.com" is no domain name: write it as in flotteq.com'),
        ('domain = "flotteq.com"', 'domain = "flotteq"', 'project.domain: "flotteq" is no domain name: write it as in flotteq.com'),
        ('domain = "flotteq.com"', 'domain = "flotteq.com."', 'project.domain: "flotteq.com." is no domain name: write it as in flotteq.com'),
        ('name = "flotteq"', 'name = "f"\ndirectory = "opt/f"', 'project.directory: "opt/f" is not absolute: begin it with /'),
        ('name = "flotteq"', 'name = "f"\ndirectory = "/opt/f/../.."', 'project.directory: "/opt/f/../.." must not contain .. or //'),
        ('name = "flotteq"', 'name = "f"\ndirectory = "/opt/my files"', 'project.directory: "/opt/my files" may have letters, digits and _ . / + @ - only'),
        ('name = "flotteq"', 'name = "f"\ncompose_file = "/etc/c.yml"', "project.compose_file: must be a path inside the project"),
        ('name = "flotteq"', 'name = "f"\nbackups = "/opt/flotteq"', "project.directory: is also the directory of backups or logs: give each its own"),
        ("db_password = {", "DB-Password = {", "secrets.DB-Password: is no secret name: use a-z, 0-9 and _"),
        ("[services.redis]", "[services.Redis_1]", "services.Redis_1: is no service name: use a-z, 0-9 and -"),
        ("[secrets]", '[acme]\ndirectory = "http://ca/dir"\n[secrets]', 'acme.directory: "http://ca/dir" is no https URL'),
        ("[secrets]", '[acme]\nprofile = "six days"\n[secrets]', 'acme.profile: "six days" is no name of a profile, such as tlsserver or shortlived'),
        ("[secrets]", '[acme]\nissuer = "https://ca.example"\n[secrets]', 'acme.issuer: "https://ca.example" is no domain name: write it as CAA records do, as in letsencrypt.org'),
        ("[secrets]", '[acme]\nresolvers = ["dns.example"]\n[secrets]', 'acme.resolvers: "dns.example" is no IP address'),
        ("[secrets]", '[acme]\naddresses = ["10.0.0.0/8"]\n[secrets]', 'acme.addresses: "10.0.0.0/8" is no IP address'),
        ("[secrets]", '[services.certbot]\nkind = "tool"\nimage = "certbot/certbot:v2.11.0"\n[secrets]', 'services.certbot.image: "certbot/certbot:v2.11.0" does not ask the authority when to renew: 4.1 or later'),
        ("[secrets]", "[schedule]\nrenew_jitter = -1\n[secrets]", "schedule.renew_jitter: -1 is less than 0"),
        ('server = "ghcr.io"', 'server = "https://ghcr.io"', 'registry.server: "https://ghcr.io" is no registry: write host or host:port, without https:// and path'),
        ('server = "ghcr.io"', 'server = ""', 'registry.server: "" is no registry: write host or host:port, without https:// and path'),
        ('address = "flotteq.com"', 'address = ""', 'environments.production.host.address: is empty: write a name or an address, or "local" for this machine'),
        ('address = "flotteq.com"', 'address = "a"\njump = "bastion:ssh"', 'environments.production.host.jump: "bastion:ssh" is no way through: write user@host:port, user@[IPv6]:port'),
        ('address = "flotteq.com"', 'address = "a"\nport = 0', "environments.production.host.port: 0 is no port: 1 to 65535"),
        ("[secrets]", "[edge]\nhttps_port = 80\n[secrets]", "edge.https_port: 80 is also edge.http_port: give each its own"),
    ],
)  # fmt: skip
def test_broken_rule(project, old, new, line):
    project.replace(old, new)
    assert f"flotteq.toml: {line}" in project.errors()


@pytest.mark.parametrize("path", ["/", "/opt", "/root", "/home", "/etc", "/var/lib", "/usr/local", "/var/lib/"])
def test_directories_of_the_system(project, path):
    project.replace('name = "flotteq"', f'name = "flotteq"\ndirectory = "{path}"')
    assert project.errors() == [
        f'flotteq.toml: project.directory: "{path}" belongs to the system: use a directory of its own, like /opt/flotteq'
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('subdomain = "app"', 'subdomain = "@"'),
        ("port = 3000", "port = 3000\nreplicas = 4"),
        ("port = 3000", 'port = 3000\ncpus = "0.25"\nmemory = "2g"'),
        ('"flotteq-frontend-client:1"', '"host:5000/client@sha256:00"'),
        ("[secrets]", "[limits]\nhsts_seconds = 0\n[secrets]"),
        ("[secrets]", '[database]\ncache = ""\n[secrets]'),
        ("[secrets]", '[edge]\ntrusted_proxies = ["203.0.113.7", "2001:db8::/32"]\n[secrets]'),
        ("[secrets]", '[edge]\nipv6_subnet = "fd9b:6e4c:21d7::/64"\n[secrets]'),
        (
            "port = 80\n",
            """port = 80\npublic = { csp = { script-src = ["https://*.a.example", "'wasm-unsafe-eval'"], img-src = ["https:", "b.example:8443"] } }\n""",
        ),
        ('name = "flotteq"', 'name = "f"\nbackups = "/var/backups"\nlogs = "/var/log"'),
        ('address = "flotteq.com"', 'address = "local"'),
        (
            "[secrets]",
            '[acme]\nissuer = ""\nresolvers = []\naddresses = ["2001:db8::1"]\nprofile = "tlsserver"\n[secrets]',
        ),
    ],
)
def test_what_is_allowed(project, old, new):
    project.replace(old, new)
    assert check(project.load()) == []


def test_all_at_once(project):
    project.replace("port = 3000", 'port = 3000\nmemory = "x"\ncpus = "y"\nreplicas = 0')
    assert [line.split(": ")[1] for line in project.errors()] == [
        "services.backend.replicas",
        "services.backend.memory",
        "services.backend.cpus",
    ]
