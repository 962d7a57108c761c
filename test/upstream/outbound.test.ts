/**
 * Who opens connections to the outside: the guarded dialler, and the few others in this table, each with its reason (AN-15). A new place that
 * opens one fails here until it goes by the dialler or somebody has said why not.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/upstreams/open.ts';

const SRC = join(REPOSITORY, 'src');

/** Each opens a connection, or is the module that could. */
const WAYS: ReadonlyArray<readonly [what: string, pattern: RegExp]> = [
  ['fetch', /(?<![\w.$])(?:globalThis\.)?fetch\s*\(/],
  ['a value of undici', /import\s+(?!type\b)[^;]*?from\s+'undici'/],
  [
    'request or get of node:http(s)',
    /import\s+(?!type\b)[^;]*?\b(?:request|get|Agent|ClientRequest)\b[^;]*?from\s+'node:https?'/,
  ],
  [
    'all of a network module',
    /import\s+(?:\w+|\*\s+as\s+\w+)\s+from\s+'(?:node:)?(?:http|https|http2|net|tls|dgram|dns)(?:\/promises)?'/,
  ],
  ['http2', /from\s+'node:http2'/],
  [
    'connect',
    /import\s+(?!type\b)[^;]*?\b(?:connect|createConnection|Socket)\b(?<!type Socket)[^;]*?from\s+'node:(?:net|tls)'/,
  ],
  ['datagrams', /from\s+'node:dgram'/],
  ['names', /import\s+(?!type\b)[^;]*?from\s+'node:dns(?:\/promises)?'/],
  ['a web socket or an event source', /new\s+(?:WebSocket|EventSource)\s*\(/],
  ['a database', /import\s+(?!type\b)[^;]*?from\s+'pg'/],
  ['mail', /import\s+(?!type\b)[^;]*?from\s+'nodemailer'/],
  ['telemetry', /from\s+'@opentelemetry\/exporter-trace[\w-]*'|import\('@opentelemetry\/exporter-trace/],
  [
    'requests of an OAuth library',
    /import\s+(?!type\b)(?:\*\s+as|[^;]*?\w(?:Request|Grant)\b)[^;]*?from\s+'(?:openid-client|oauth4webapi)'/,
  ],
];

/** No URL of a peer reaches any of these but the first. */
const JUSTIFIED: Record<string, string> = {
  'upstream/dial.ts': 'the guarded dialler itself',
  'upstream/egress/reach.ts':
    'tunnels of sandboxes: a socket, not a request; addresses checked by the same classifier, resolved once',
  'upstream/egress/doors.ts': 'a Unix socket of our own, to see whether its gateway lives',
  'sandbox/egress-bridge.ts': 'runs inside the sandbox; connects to the one socket that is mounted there',
  'sandbox/local-http.ts': 'waits for a sample server on 127.0.0.1',
  'sandbox/loopback-only.ts': 'changes where a sample server listens',
  'cli/api.ts': 'the command line of a person, to the gateway that the person named',
  'cli/sign-in.ts': 'the command line of a person, to the issuer that their gateway names',
  'cli/telemetry.ts': 'the collector in the configuration',
  'store/postgres/open.ts': 'the database in the configuration',
  'admin/notify/mail.ts': 'the mail server in the configuration',
};

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

/** Without comments, in which words are only words. */
const code = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '');
/** A library that is handed a fetch of ours has no other. */
const waysIn = (text: string): string[] =>
  WAYS.filter(
    ([what, pattern]) => pattern.test(code(text)) && !(what.includes('OAuth') && /customFetch/.test(code(text))),
  ).map(([what]) => what);

const found = [...sources(SRC)]
  .map((file) => ({ file: relative(SRC, file).split(sep).join('/'), ways: waysIn(readFileSync(file, 'utf8')) }))
  .filter(({ ways }) => ways.length > 0);

describe('AN-15: connections to the outside', () => {
  test('are opened by the guarded dialler and by nobody who is not in the table', () => {
    expect(found.filter(({ file }) => !(file in JUSTIFIED))).toEqual([]);
  });

  test('have no reason left over in the table', () => {
    expect(Object.keys(JUSTIFIED).filter((file) => !found.some((one) => one.file === file))).toEqual([]);
  });

  test.each([
    ['const x = await fetch(url);', 'fetch'],
    ["import { Agent } from 'undici';", 'a value of undici'],
    ["import { createServer, request } from 'node:http';", 'request or get of node:http(s)'],
    ["import https from 'node:https';", 'all of a network module'],
    ["import * as net from 'node:net';", 'all of a network module'],
    ["import { connect } from 'node:tls';", 'connect'],
    ["import {\n  isIP,\n  connect,\n} from 'node:net';", 'connect'],
    ["import { lookup } from 'node:dns/promises';", 'names'],
    ["import { createSocket } from 'node:dgram';", 'datagrams'],
    ["import * as oidc from 'openid-client';", 'requests of an OAuth library'],
    [
      "import {\n  ClientSecretPost,\n  clientCredentialsGrantRequest,\n} from 'oauth4webapi';",
      'requests of an OAuth library',
    ],
    ['const s = new WebSocket(url);', 'a web socket or an event source'],
  ])('the reader of sources finds %j', (text, what) => expect(waysIn(text)).toContain(what));

  test.each([
    "import type { Dispatcher } from 'undici';",
    "import { createServer } from 'node:http';",
    "import { isIP, type Socket } from 'node:net';",
    '// fetch(url) is not for us\nconst options = { fetch: given.fetch };\noptions.fetch(url);',
  ])('and not %j', (text) => expect(waysIn(text)).toEqual([]));
});
