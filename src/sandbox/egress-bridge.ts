/**
 * Runs inside the sandbox, before a server whose record has egress rules: leads a port of 127.0.0.1 to the socket of the gateway's proxy, tells the
 * server so by its environment, and ends as the server ends. It is a convenience and no boundary: it has no right that the server has not, the
 * socket is the only way out for both, and the proxy trusts neither. One file without imports of ours, because it is mounted alone.
 * Arguments: the folder with the socket, `ca` or `none`, then the server's program and its arguments.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { constants } from 'node:os';

const [folder = '', authority = '', program = '', ...rest] = process.argv.slice(2);

const server = createServer({ allowHalfOpen: true, noDelay: true }, (inside) => {
  const outside = connect({ path: `${folder}/s`, allowHalfOpen: true });
  for (const [one, other] of [
    [inside, outside],
    [outside, inside],
  ] as const) {
    one.on('error', () => one.destroy());
    one.once('close', () => other.destroy());
    one.pipe(other);
  }
});
server.on('error', (error) => {
  process.stderr.write(`remit: the way out cannot be opened: ${error.message}\n`);
  process.exit(1);
});

server.listen(0, '127.0.0.1', () => {
  const at = server.address();
  const url = `http://127.0.0.1:${typeof at === 'object' && at !== null ? at.port : 0}`;
  const local = 'localhost,127.0.0.1,::1';
  const ca = withOwn('ca.pem');
  const bundle = withOwn('bundle.pem');
  const child = spawn(program, rest, {
    stdio: 'inherit',
    env: {
      ...process.env,
      HTTP_PROXY: url,
      HTTPS_PROXY: url,
      http_proxy: url,
      https_proxy: url,
      NO_PROXY: local,
      no_proxy: local,
      NODE_USE_ENV_PROXY: '1',
      ...(authority === 'ca' && {
        NODE_EXTRA_CA_CERTS: ca,
        SSL_CERT_FILE: bundle,
        REQUESTS_CA_BUNDLE: bundle,
        CURL_CA_BUNDLE: bundle,
        GIT_SSL_CAINFO: bundle,
      }),
    },
  });
  child.once('error', (error) => {
    process.stderr.write(`remit: ${error.message}\n`);
    process.exit(127);
  });
  // As a shell says it; whoever waits for us reads a signal from it.
  child.once('exit', (code, signal) => process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2', 'SIGXCPU'] as const)
    process.on(signal, () => void child.kill(signal));
});

/** What the gateway says is trusted, with what the record says is: clients read one file. Names a file. */
function withOwn(name: string): string {
  const { NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: bundle } = process.env;
  const own = [ca, bundle].filter((path) => path !== undefined);
  if (authority !== 'ca' || own.length === 0) return `${folder}/${name}`;
  const path = `/tmp/remit-egress-${name}`;
  writeFileSync(path, [...own, `${folder}/${name}`].map((file) => readFileSync(file, 'utf8')).join('\n'));
  return path;
}
