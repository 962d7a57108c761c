/**
 * PH-01, PH-02, PH-03, PH-06, AE-10 and NH-02 over the whole gateway: messages that say two things, come from the wrong place, or ask
 * for another. The oracle is what the sinks received; a decoy that nobody registered stands beside them and must hear nothing.
 */
import { connect } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { methodRules } from '../../src/protocol/methods.ts';
import {
  ENVELOPE,
  ERAS,
  JSON_HEADERS,
  LEGACY,
  modernHeaders,
  modernMessage,
  startRig,
  textTool,
} from '../support/rig.ts';
import type { Answer, Era, Headers, Rig } from '../support/rig.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { argumentsDigest } from './arguments-digest.ts';

const SCOPES = ['t:use'];
const ROUTED = textTool('routed', 'write', 't:use', {
  inputSchema: {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      count: { type: 'integer', 'x-mcp-header': 'Count' },
      dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
    },
    additionalProperties: false,
  },
});
const ANY = textTool('any', 'write', 't:use', { inputSchema: { type: 'object' } });
const TOOLS = [textTool('read_file', 'read', 't:use'), textTool('delete_file', 'write', 't:use'), ROUTED, ANY];

let rig: Rig;
let decoy: Sink;
let bearer: string;
let session: string;
beforeAll(async () => {
  decoy = await startSink();
  rig = await startRig({
    allowedOrigins: ['https://console.example'],
    servers: { files: { tools: TOOLS }, other: { tools: TOOLS, era: 'legacy' } },
  });
  bearer = `Bearer ${rig.token('dana', { server: 'files', scopes: SCOPES })}`;
  session = await rig.openSession('files', bearer.slice(7));
});
afterAll(async () => {
  await rig.stop();
  await decoy.close();
});

/** Messages that reached any server. A connection that ends or listens in the background sends none (DELETE, GET). */
const received = (): number =>
  [rig.sink('files'), rig.sink('other'), decoy]
    .flatMap((sink) => sink.received)
    .filter(({ httpMethod }) => httpMethod === 'POST').length;

/** Runs a request that must reach no server at all. */
async function unheard(request: Promise<Answer>): Promise<Answer> {
  const before = received();
  const answer = await request;
  expect(received()).toBe(before);
  return answer;
}

const sentinel = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`;
const CALL: JsonObject = { name: 'read_file', arguments: { text: 'a' } };
const REGION: JsonObject = { name: 'routed', arguments: { region: 'eu', count: 42, dry: false } };
const MIRRORED = { 'mcp-param-region': 'eu', 'mcp-param-count': '42', 'mcp-param-dry-run': 'false' };

// prettier-ignore
const MISMATCHES: ReadonlyArray<readonly [title: string, params: JsonObject, headers: Headers]> = [
  ['version header missing', CALL, { 'mcp-protocol-version': undefined }],
  ['version header older', CALL, { 'mcp-protocol-version': '2025-11-25' }],
  ['version header unknown', CALL, { 'mcp-protocol-version': '2099-01-01' }],
  ['version header empty', CALL, { 'mcp-protocol-version': '' }],
  ['version header twice', CALL, { 'mcp-protocol-version': ['2026-07-28', '2026-07-28'] }],
  ['version header twice, one older', CALL, { 'mcp-protocol-version': ['2026-07-28', '2025-11-25'] }],
  ['method header missing', CALL, { 'mcp-method': undefined }],
  ['method header harmless', CALL, { 'mcp-method': 'tools/list' }],
  ['method header in capitals', CALL, { 'mcp-method': 'TOOLS/CALL' }],
  ['method header empty', CALL, { 'mcp-method': '' }],
  ['method header twice', CALL, { 'mcp-method': ['tools/call', 'tools/list'] }],
  ['method header encoded', CALL, { 'mcp-method': sentinel('tools/call') }],
  ['name header missing', CALL, { 'mcp-name': undefined }],
  ['name header of another tool', CALL, { 'mcp-name': 'delete_file' }],
  ['name header empty', CALL, { 'mcp-name': '' }],
  ['name header in other case', CALL, { 'mcp-name': 'Read_File' }],
  ['name header a prefix', CALL, { 'mcp-name': 'read' }],
  ['name header with more behind it', CALL, { 'mcp-name': 'read_file;x' }],
  ['name header twice', CALL, { 'mcp-name': ['read_file', 'delete_file'] }],
  ['name header percent-encoded', CALL, { 'mcp-name': 'read%5Ffile' }],
  ['name header in quotes', CALL, { 'mcp-name': '"read_file"' }],
  ['name header encodes another', CALL, { 'mcp-name': sentinel('delete_file') }],
  ['name header encoded twice', CALL, { 'mcp-name': sentinel(sentinel('read_file')) }],
  ['name header sentinel in capitals', CALL, { 'mcp-name': sentinel('read_file').replace('base64', 'BASE64') }],
  ['name header without its end', CALL, { 'mcp-name': '=?base64?cmVhZF9maWxl' }],
  ['name header with foreign letters', CALL, { 'mcp-name': '=?base64?cmV!!ZF9maWxl?=' }],
  ['name header of bad UTF-8', CALL, { 'mcp-name': '=?base64?/w==?=' }],
  ['name header in latin1', CALL, { 'mcp-name': 'read_fil\u00e9' }],
  ['parameter header missing', REGION, { ...MIRRORED, 'mcp-param-region': undefined }],
  ['parameter header of another region', REGION, { ...MIRRORED, 'mcp-param-region': 'us' }],
  ['parameter header in other case', REGION, { ...MIRRORED, 'mcp-param-region': 'EU' }],
  ['parameter header twice', REGION, { ...MIRRORED, 'mcp-param-region': ['eu', 'us'] }],
  ['parameter header of another number', REGION, { ...MIRRORED, 'mcp-param-count': '43' }],
  ['parameter header in hexadecimal', REGION, { ...MIRRORED, 'mcp-param-count': '0x2a' }],
  ['parameter header of another truth', REGION, { ...MIRRORED, 'mcp-param-dry-run': 'true' }],
  ['parameter header for an absent argument', { name: 'routed', arguments: { count: 42, dry: false } }, MIRRORED],
  ['parameter header in bad Base64', REGION, { ...MIRRORED, 'mcp-param-region': '=?base64?ZXU?=' }],
];

describe('PH-01: headers say what the body says', () => {
  test.each(MISMATCHES)('PH-01: %s: 400, -32020, nothing is sent', async (_title, params, headers) => {
    const answer = await unheard(
      rig.post('files', modernMessage('tools/call', params), {
        authorization: bearer,
        ...modernHeaders('tools/call', params),
        ...headers,
      }),
    );
    expect(answer.status).toBe(400);
    expect(answer.error?.code).toBe(-32020);
    expect(answer.error?.message).toMatch(/^Header mismatch: /);
    expect(answer.body['id']).toBe(7);
    const [entry] = await rig.about(answer.reference);
    expect(entry).toMatchObject({ kind: 'denial', decision: { verdict: 'deny' } });
    expect(entry?.decision?.reason).toMatch(/^(message_refused|header_mismatch):-32020$/);
  });

  test.each<[string, JsonObject, Headers]>([
    ['a method header of another method', CALL, { 'mcp-method': 'tools/list' }],
    ['a name header of another tool', CALL, { 'mcp-name': 'delete_file' }],
    ['a parameter header of another region', REGION, { 'mcp-param-region': 'us' }],
  ])('PH-01: a legacy client need not send them, and may not lie: %s', async (_title, params, headers) => {
    const answer = await unheard(rig.ask('files', 'tools/call', params, { era: 'legacy', scopes: SCOPES, headers }));
    expect(answer.error?.code).toBe(-32020);
  });

  test('PH-01: there are at least thirty cases, and the good requests they are made from pass', async () => {
    expect(MISMATCHES.length).toBeGreaterThanOrEqual(30);
    for (const [params, headers] of [
      [CALL, {}],
      [REGION, MIRRORED],
      [CALL, { 'mcp-name': sentinel('read_file') }],
    ] as const)
      expect((await rig.ask('files', 'tools/call', params, { scopes: SCOPES, headers })).status).toBe(200);
  });

  test('PH-01: what leaves has headers made from the inspected body, not those that came', async () => {
    await rig.ask('files', 'tools/call', REGION, {
      scopes: SCOPES,
      headers: { ...MIRRORED, 'mcp-param-other': 'x', 'x-route': 'admin' },
    });
    const last = rig.sink('files').calls().at(-1)!;
    expect(last.headers['mcp-param-region']).toBe('eu');
    expect(last.headers['mcp-param-count']).toBe('42');
    expect(last.headers).not.toHaveProperty('mcp-param-other');
    expect(last.headers).not.toHaveProperty('x-route');
  });
});

const raw = (params: string, more = ''): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}${more}}`;
const meta = `"_meta":${JSON.stringify(ENVELOPE)}`;
const OK = '"name":"read_file","arguments":{"text":"a"}';

/** Each is read by some server as something else than by another; `{meta}` is the envelope, left out for the legacy era. */
// prettier-ignore
const SMUGGLED: ReadonlyArray<readonly [title: string, params: string, more?: string]> = [
  ['name twice', '{"name":"delete_file","name":"read_file","arguments":{"text":"a"}{meta}}'],
  ['name twice, once escaped', String.raw`{"n\u0061me":"delete_file",${OK}{meta}}`],
  ['arguments twice', `{"arguments":{"text":"b"},${OK}{meta}}`],
  ['an argument twice', '{"name":"read_file","arguments":{"text":"b","text":"a"}{meta}}'],
  ['params twice', `{${OK}{meta}}`, ',"params":{"name":"delete_file"}'],
  ['method twice', `{${OK}{meta}}`, ',"method":"tools/list"'],
  ['id twice', `{${OK}{meta}}`, ',"id":2'],
  ['Name beside name', `{${OK},"Name":"delete_file"{meta}}`],
  ['Arguments beside arguments', `{${OK},"Arguments":{"text":"b"}{meta}}`],
  ['arguments with a long s', `{${OK},"argument\u017f":{"text":"b"}{meta}}`],
  ['Params beside params', `{${OK}{meta}}`, ',"Params":{"name":"delete_file"}'],
  ['Method beside method', `{${OK}{meta}}`, ',"Method":"admin/run"'],
  ['a result beside the method', `{${OK}{meta}}`, ',"result":{}'],
  ['NUL behind name', String.raw`{${OK},"name\u0000":"delete_file"{meta}}`],
  ['NUL behind an argument', String.raw`{"name":"read_file","arguments":{"text":"a","text\u0000":"b"}{meta}}`],
  ['an argument in other case', '{"name":"read_file","arguments":{"text":"a","Text":"b"}{meta}}'],
  ['an argument in other case alone', '{"name":"read_file","arguments":{"TEXT":"b"}{meta}}'],
  ['a Kelvin sign in a key', `{${OK},"tas\u212a":{}{meta}}`],
  ['a full-width letter in a key', `{${OK},"\uff4eame":"delete_file"{meta}}`],
  ['a zero-width space in a key', `{${OK},"na\u200bme":"delete_file"{meta}}`],
  ['__proto__ in params', `{${OK},"__proto__":{"name":"delete_file"}{meta}}`],
  ['__proto__ in arguments', '{"name":"any","arguments":{"__proto__":{"text":"b"}}{meta}}'],
  ['a number beyond what readers agree on', '{"name":"any","arguments":{"cents":90071992547409931}{meta}}'],
  ['a number too large for any double', '{"name":"any","arguments":{"cents":1e400}{meta}}'],
  ['a lone surrogate', String.raw`{"name":"read_file\ud800","arguments":{}{meta}}`],
  ['a comment', `{${OK}/*,"x":1*/{meta}}`],
  ['NaN', '{"name":"any","arguments":{"n":NaN}{meta}}'],
  ['a trailing comma', `{${OK},}`],
  ['data behind the message', `{${OK}{meta}}`, '}{"name":"delete_file"'],
  ['nesting that overflows', `{"name":"any","arguments":{"a":${'['.repeat(200)}${']'.repeat(200)}}{meta}}`],
];

describe('PH-02: what two servers read differently', () => {
  const send = (
    era: Era,
    params: string,
    more: string,
    body = raw(params.replace('{meta}', era === 'modern' ? `,${meta}` : ''), more),
  ) =>
    rig.post('files', body, {
      authorization: bearer,
      ...(era === 'modern'
        ? modernHeaders('tools/call', CALL)
        : { 'mcp-protocol-version': LEGACY, 'mcp-session-id': session }),
    });

  test.each(SMUGGLED.flatMap(([title, params, more = '']) => ERAS.map((era) => [title, era, params, more] as const)))(
    'PH-02: %s, %s: refused, no server sees it',
    async (_title, era, params, more) => {
      const answer = await unheard(send(era, params, more));
      expect(answer.result === undefined || answer.result['isError'] === true).toBe(true);
      expect(answer.text).not.toContain('"text":"a"');
    },
  );

  test('PH-02: a state nobody issued is refused, and answers to no question never leave', async () => {
    const meant = '"requestState":"x","inputResponses":{"k":{"action":"accept"}}';
    const refused = await unheard(send('modern', `{${OK},"requestState":"x"{meta}}`, ''));
    expect(refused.error).toMatchObject({ code: -32602 });
    for (const [era, members] of [
      ['modern', '"inputResponses":{"k":{"action":"accept"}}'],
      ['legacy', meant],
    ] as const) {
      await send(era, `{${OK},${members}{meta}}`, '');
      const received = JSON.stringify(rig.sink('files').calls().at(-1));
      expect(received).toContain('read_file');
      expect(received).not.toMatch(/inputResponses|requestState/);
    }
  });

  test.each([
    [
      'bytes that are no UTF-8',
      Buffer.concat([Buffer.from(raw(`{${OK},"x":"`)), Buffer.from([0xc0, 0xaf]), Buffer.from('"}}')]),
    ],
    ['UTF-16', Buffer.from(raw(`{${OK}}`), 'utf16le')],
    ['a byte order mark', `\uFEFF${raw(`{${OK}}`)}`],
    ['a second message on a second line', `${raw(`{${OK}}`)}\n${raw('{"name":"delete_file"}')}`],
    ['nothing', ''],
  ])('PH-02: a body of %s is refused', async (_title, body) => {
    const answer = await unheard(rig.post('files', body, { authorization: bearer, 'mcp-session-id': session }));
    expect(answer.status).toBe(400);
    expect(answer.error?.code).toBe(-32700);
  });

  test.each<[string, Headers, number]>([
    ['a media type of forms', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['plain text, which browsers send anywhere', { 'content-type': 'text/plain' }, 415],
    ['another charset', { 'content-type': 'application/json; charset=utf-7' }, 415],
    ['a compressed body', { 'content-encoding': 'gzip' }, 415],
  ])('PH-02: %s is refused', async (_title, headers, status) => {
    const answer = await unheard(
      rig.post('files', modernMessage('tools/call', CALL), {
        authorization: bearer,
        ...modernHeaders('tools/call', CALL),
        ...headers,
      }),
    );
    expect(answer.status).toBe(status);
  });

  test('PH-02: two lengths of one body, the request smuggling of old, end the connection without a word to a server', async () => {
    const body = JSON.stringify(modernMessage('tools/call', CALL));
    const head = ['POST /mcp/default/files HTTP/1.1', `Host: ${new URL(rig.url).host}`, `Authorization: ${bearer}`];
    const lines = Object.entries({ ...JSON_HEADERS, ...modernHeaders('tools/call', CALL) }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const both = ['Content-Length: 4', 'Transfer-Encoding: chunked'];
    const before = received();
    const text = await exchange(
      [...head, ...lines, ...both, '', `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`].join('\r\n'),
    );
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(received()).toBe(before);
  });

  test('PH-02: what the server gets is written anew: no spelling, order, white space or member of the original survives', async () => {
    const body = raw(
      String.raw` { "arguments" : {"text":"\u0061\/b" , "count" : 1.0} ,"vendor":{"x":1},"name":"r\u0065ad_file", ${meta} }`,
    );
    const answer = await send('modern', '', '', body);
    expect(answer.status).toBe(200);
    const last = rig.sink('files').calls().at(-1)!;
    expect(last.body).not.toMatch(/\\u00|\s:|vendor|test-client/);
    expect(last.message?.['params']).toMatchObject({ name: 'read_file', arguments: { text: 'a/b', count: 1 } });
    expect(Object.keys(last.message?.['params'] as object).sort()).toEqual(['_meta', 'arguments', 'name']);
    expect(last.message?.['id']).not.toBe(1);
  });

  test('PH-02 twin: a relay that parses loosely and passes the bytes on delivers a second name', async () => {
    const body = raw(`{${OK},"Name":"delete_file",${meta}}`);
    expect((JSON.parse(body) as { params: { name: string } }).params.name).toBe('read_file');
    await fetch(decoy.url, {
      method: 'POST',
      headers: { ...JSON_HEADERS, ...modernHeaders('tools/call', CALL) },
      body,
    });
    expect(decoy.wire()).toContain('"Name":"delete_file"');
  });
});

describe('AE-10: the log and the server mean the same call', () => {
  test('AE-10: the digest of the arguments in the log is the one the server computes from what it received', async () => {
    const json = fc.jsonValue({ maxDepth: 3 }).filter((value) => JSON.stringify(value).length < 2_000);
    const args = fc.dictionary(fc.stringMatching(/^[a-zA-Z_]{1,8}$/), json, { maxKeys: 5 });
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        args,
        fc.constantFrom(...ERAS),
        fc.constantFrom('files', 'other'),
        async (given, era, server) => {
          const before = rig.sink(server).calls().length;
          const answer = await rig.call(server, 'any', given as JsonObject, { era, scopes: SCOPES });
          const call = rig.sink(server).calls()[before];
          // Refused by strict reading (numbers and keys that readers disagree on): then nothing was sent.
          if (answer.result === undefined || answer.result['isError'] === true) {
            expect(call).toBeUndefined();
            return;
          }
          const sent = (call!.message!['params'] as { arguments: JsonObject }).arguments;
          const digest = argumentsDigest(sent);
          const entries = await rig.about(answer.reference);
          expect(entries.map((entry) => entry.call?.args)).toEqual([digest, digest]);
          compared++;
        },
      ),
      { seed: 10, numRuns: 80 },
    );
    expect(compared).toBeGreaterThan(40);
  });
});

describe('PH-03: Host and Origin', () => {
  const base: Headers = { authorization: '', ...modernHeaders('tools/call', CALL) };
  const call = (headers: Headers): Promise<Answer> =>
    rig.post('files', modernMessage('tools/call', CALL), { ...base, authorization: bearer, ...headers });

  test.each(['evil.example', 'localhost', '127.0.0.1', 'files', '0.0.0.0', '[::1]', ''])(
    'PH-03: Host %s with a valid token: 403, nothing is sent',
    async (host) => {
      const port = new URL(rig.url).port;
      for (const value of host === '127.0.0.1' ? [`${host}:1`] : [host, `${host}:${port}`]) {
        const answer = await unheard(call({ Host: value }));
        expect(answer.status, value).toBe(403);
        expect(answer.error?.message).toBe('Host is not allowed on this listener');
      }
    },
  );

  test.each([
    'https://evil.example',
    'null',
    'http://127.0.0.1',
    'http://localhost:3000',
    'https://console.example.evil.example',
    'file://',
  ])('PH-03: Origin %s with a valid token: 403, nothing is sent, no CORS header', async (origin) => {
    const answer = await unheard(call({ origin }));
    expect(answer.status).toBe(403);
    expect(answer.error?.message).toBe('Origin is not allowed on this listener');
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  test('PH-03: a preflight from elsewhere gets no leave; from a listed origin it does', async () => {
    const preflight = (origin: string): Promise<Answer> =>
      rig.send('OPTIONS', rig.endpoint('files'), { origin, 'access-control-request-method': 'POST' });
    expect((await preflight('https://evil.example')).status).toBe(403);
    const listed = await preflight('https://console.example');
    expect(listed.status).toBe(204);
    expect(listed.headers['access-control-allow-origin']).toBe('https://console.example');
    expect(listed.headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('PH-03: the listed origin may call, a client without Origin may, and the metadata is for everybody', async () => {
    const listed = await call({ origin: 'https://console.example' });
    expect(listed.status).toBe(200);
    expect(listed.headers['access-control-allow-origin']).toBe('https://console.example');
    expect((await call({})).headers['access-control-allow-origin']).toBeUndefined();
    const path = '/.well-known/oauth-protected-resource/mcp/default/files';
    expect((await rig.send('GET', path, { origin: 'https://evil.example' })).status).toBe(200);
    expect((await rig.send('GET', path, { Host: 'evil.example' })).status).toBe(403);
  });
});

describe('PH-06: what is not on the list of methods', () => {
  const KNOWN = new Set(methodRules().map(([method]) => method));
  const METHODS = [
    'sampling/createMessage',
    'skills/list',
    'resources/directory/read',
    'resources/read/',
    'Prompts/get',
    'tasks/delete',
    'roots/list',
    'elicitation/create',
    'tools/Call',
    'tools/call ',
    'tools/call/',
    'TOOLS/CALL',
    'tools',
    'rpc.discover',
    'constructor',
    '__proto__',
    'toString',
    'admin/run',
    'server/discover/x',
    '$/cancelRequest',
  ];

  test.each(METHODS)('PH-06: the request %s is refused in both eras and reaches no server', async (method) => {
    for (const era of ERAS) {
      const answer = await unheard(rig.ask('files', method, {}, { era, scopes: SCOPES }));
      expect(answer.result).toBeUndefined();
      if (answer.error?.code !== -32020)
        expect(answer.error).toMatchObject({ code: -32601, message: 'Method not found' });
    }
  });

  test.each(ERAS)('PH-06: %s: responses, batches, scalars: refused, nothing is sent', async (era) => {
    const headers = {
      authorization: bearer,
      ...(era === 'modern' ? modernHeaders('tools/call', CALL) : { 'mcp-session-id': session }),
    };
    const call = modernMessage('tools/call', CALL);
    const bodies: readonly unknown[] = [
      { jsonrpc: '2.0', id: 1, result: {} },
      { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'x' } },
      { jsonrpc: '2.0', id: 1, result: {}, method: 'tools/call', params: CALL },
      [call],
      [call, call],
      [],
      [[call]],
      'tools/call',
      7,
      null,
      true,
      { ...call, jsonrpc: '1.0' },
      { ...call, jsonrpc: 2 },
      { ...call, id: null },
      { ...call, id: {} },
      { ...call, id: 1.5 },
      { ...call, method: ['tools/call'] },
      { ...call, params: [CALL] },
      { ...call, extra: 1 },
    ];
    for (const body of bodies) {
      const answer = await unheard(rig.post('files', JSON.stringify(body), headers));
      expect(answer.status, JSON.stringify(body)).toBe(400);
      expect(answer.error?.code).toBe(-32600);
    }
  });

  test.each(ERAS)('PH-06: %s notifications of every kind are accepted, dropped, and reach no server', async (era) => {
    const kinds = [
      ...METHODS,
      ...KNOWN,
      'notifications/progress',
      'notifications/roots/list_changed',
      'notifications/message',
      'notifications/x',
    ];
    for (const method of kinds) {
      const params = method === 'tools/call' ? CALL : method === 'notifications/cancelled' ? { requestId: 7 } : {};
      const { id: _, ...body } = modernMessage(method, params) as { id: number };
      const answer = await unheard(
        era === 'modern'
          ? rig.post('files', body, { authorization: bearer, ...modernHeaders(method, params) })
          : rig.post('files', { jsonrpc: '2.0', method, params }, { authorization: bearer, 'mcp-session-id': session }),
      );
      if (answer.status === 202) expect(answer.text).toBe('');
      else expect([400, 403]).toContain(answer.status);
    }
  });

  test('PH-06: no random method and shape reaches a server unless it is a method of the table', async () => {
    const name = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.stringMatching(/^[a-z]{1,8}\/[a-z]{1,8}$/),
      fc.constantFrom(...METHODS),
    );
    await fc.assert(
      fc.asyncProperty(name, fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(...ERAS), async (method, params, era) => {
        fc.pre(!KNOWN.has(method));
        const body = { jsonrpc: '2.0', id: 1, method, params };
        const headers: Headers =
          era === 'modern'
            ? { 'mcp-protocol-version': '2026-07-28' }
            : { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY };
        const answer = await unheard(rig.post('files', JSON.stringify(body), { authorization: bearer, ...headers }));
        expect(answer.result).toBeUndefined();
        expect(answer.status).toBeLessThan(500);
      }),
      { seed: 6, numRuns: 150 },
    );
  });

  test('PH-06 twin: a relay that forwards what it does not know reaches the server with it', async () => {
    const body = JSON.stringify(modernMessage('resources/read', { uri: 'file:///etc/passwd' }));
    await fetch(decoy.url, { method: 'POST', headers: { ...JSON_HEADERS, ...modernHeaders('resources/read') }, body });
    expect(decoy.wire()).toContain('resources/read');
  });
});

describe('NH-02: only the registered server, by nobody’s wish', () => {
  const PATHS = [
    '/mcp/default/files/../other',
    '/mcp/default/other/%2e%2e/files',
    '/mcp/default/files%2fother',
    '/mcp/default//files',
    '//mcp/default/files',
    '/mcp/default/files/',
    '/mcp/default/Files',
    '/mcp/default/files@evil.example',
    '/mcp/default/files;x',
    '/mcp/default/http:%2f%2fevil.example',
    '/mcp/default',
    '/mcp/default/',
    '/mcp',
    '/',
    '/mcp/other-org/files',
    '/mcp/default/absent',
    '/files',
    '/sse',
    '/message',
    '/mcp/default/files/sse',
  ];
  const call = (headers: Headers, path = rig.endpoint('files'), params = CALL): Promise<Answer> =>
    rig.send(
      'POST',
      path,
      { ...JSON_HEADERS, authorization: bearer, ...modernHeaders('tools/call', params), ...headers },
      JSON.stringify(modernMessage('tools/call', params)),
    );

  test.each(PATHS)('NH-02: %s leads nowhere', async (path) => {
    const answer = await unheard(call({}, path));
    // That path takes no POST anywhere, whether or not a server offers it.
    expect(path === '/mcp/default/files/sse' ? [405] : [401, 404]).toContain(answer.status);
  });

  test('NH-02: an absolute request target naming another host leads nowhere', async () => {
    const body = JSON.stringify(modernMessage('tools/call', CALL));
    const lines = Object.entries({ ...JSON_HEADERS, ...modernHeaders('tools/call', CALL), authorization: bearer }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const before = received();
    const text = await exchange(
      [
        `POST ${decoy.url} HTTP/1.1`,
        `Host: ${new URL(rig.url).host}`,
        ...lines,
        `Content-Length: ${body.length}`,
        'Connection: close',
        '',
        body,
      ].join('\r\n'),
    );
    expect(text).toMatch(/^HTTP\/1\.1 404 /);
    expect(received()).toBe(before);
  });

  test('NH-02: headers and arguments that name another place change nothing about where the call goes', async () => {
    const url = decoy.url;
    const { host } = new URL(url);
    const wishes: Headers = {
      'x-forwarded-host': host,
      forwarded: `host=${host}`,
      'x-original-url': '/mcp/default/other',
      'x-rewrite-url': '/mcp/default/other',
      'x-upstream': url,
      'x-target': url,
      'x-http-method-override': 'DELETE',
      'x-host': host,
      referer: url,
      'mcp-server': 'other',
      te: 'trailers',
    };
    const before = { files: rig.sink('files').calls().length, other: rig.sink('other').received.length };
    const params = {
      name: 'any',
      arguments: { url, server: 'other', host, _meta: { server: 'other' } },
      server: 'other',
      url,
    };
    expect((await call(wishes, rig.endpoint('files'), params)).status).toBe(200);
    expect(rig.sink('files').calls()).toHaveLength(before.files + 1);
    expect(rig.sink('other').received).toHaveLength(before.other);
    expect(decoy.received.filter(({ body }) => body.includes('"server":"other"'))).toEqual([]);
    const { headers, path } = rig.sink('files').calls().at(-1)!;
    expect(path).toBe('/mcp');
    expect(headers.host).toBe(new URL(rig.sink('files').url).host);
    for (const name of Object.keys(wishes)) if (name !== 'te') expect(headers).not.toHaveProperty(name);
  });

  test.each([
    'other/read_file',
    '../other/read_file',
    'http://evil.example/read_file',
    'other:read_file',
    'other__read_file',
  ])('NH-02: the tool name %s names no tool of another server', async (name) => {
    const answer = await unheard(rig.call('files', name, { text: 'a' }, { scopes: SCOPES }));
    expect(answer.error?.message).toContain('Unknown tool.');
  });

  test.each([301, 302, 307, 308])(
    'NH-02: a server that redirects with %s does not lead the gateway anywhere',
    async (status) => {
      rig
        .sink('files')
        .intercept(({ message }) =>
          message?.['method'] === 'tools/call' ? { status, headers: { location: decoy.url } } : null,
        );
      const before = decoy.received.length;
      const answer = await rig.call('files', 'delete_file', { text: 'a' }, { scopes: SCOPES });
      rig.sink('files').intercept(null);
      expect(answer.result?.['isError']).toBe(true);
      expect(decoy.received).toHaveLength(before);
    },
  );

  test.each(['draft', 'in_review', 'suspended', 'retired'] as const)(
    'NH-02: a %s server is not called',
    async (state) => {
      await rig.setServer('other', { state });
      for (const era of ERAS) {
        const token = rig.token('dana', { server: 'other', scopes: SCOPES });
        const asked =
          era === 'modern'
            ? rig.call('other', 'read_file', { text: 'a' }, { token })
            : rig.ask(
                'other',
                'initialize',
                { protocolVersion: LEGACY, capabilities: {}, clientInfo: { name: 'a', version: '1' } },
                { token, era },
              );
        const answer = await unheard(asked);
        expect(answer.status).toBe(403);
        expect((await rig.about(answer.reference))[0]?.decision?.reason).toBe(`server_not_enabled:${state}`);
      }
      await rig.setServer('other', { state: 'enabled' });
      await rig.look('other');
    },
  );
});

/** Bytes out, bytes back until the other side ends or a second passes without a word. */
function exchange(text: string): Promise<string> {
  const { hostname, port } = new URL(rig.url);
  return new Promise((resolve, reject) => {
    let back = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on('data', (bytes: Buffer) => (back += bytes.toString('latin1')));
    socket.on('error', reject);
    socket.on('close', () => resolve(back));
  });
}
