/** The first message of TLS, as real clients send it, cut everywhere, and as nobody should send it. */
import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { MAX_HELLO, readClientHello } from '../../../src/upstream/egress/client-hello.ts';

let hello: Buffer;

/** What node's TLS says first. */
function helloFor(servername: string | undefined, options: object = {}): Promise<Buffer> {
  const [ours, theirs] = duplexPair();
  const client = connect({ socket: ours, ...(servername !== undefined && { servername }), ...options });
  client.on('error', () => {});
  return new Promise((resolve) => {
    theirs.once('data', (bytes: Buffer) => {
      client.destroy();
      resolve(bytes);
    });
  });
}

beforeAll(async () => {
  hello = await helloFor('api.example.com');
});

const refused = (why: string) => ({ state: 'refused', why });

describe('a real one', () => {
  test('names its host', () =>
    expect(readClientHello(hello)).toEqual({ state: 'hello', serverName: 'api.example.com' }));

  test('of TLS 1.2 and with other options, too', async () => {
    const old = await helloFor('a.example', { maxVersion: 'TLSv1.2', ALPNProtocols: ['h2', 'http/1.1'] });
    expect(readClientHello(old)).toEqual({ state: 'hello', serverName: 'a.example' });
  });

  test('cut anywhere wants more', () => {
    for (let at = 0; at < hello.length; at++)
      expect(readClientHello(hello.subarray(0, at)).state, `${at}`).toBe('more');
  });

  test('in pieces of several records is the same, and what follows it does not count', () => {
    for (const cut of [1, 3, 4, 5, 60, hello.length - 6]) {
      const body = hello.subarray(5);
      const both = Buffer.concat([record(body.subarray(0, cut)), record(body.subarray(cut))]);
      expect(readClientHello(both), `${cut}`).toEqual({ state: 'hello', serverName: 'api.example.com' });
    }
    expect(readClientHello(Buffer.concat([hello, Buffer.from('anything')])).state).toBe('hello');
  });

  test('without a name, or for an address, names nothing', async () => {
    expect(readClientHello(await helloFor(undefined))).toEqual(refused('server_name'));
    expect(readClientHello(made([]))).toEqual(refused('server_name'));
    expect(readClientHello(made(null))).toEqual(refused('server_name'));
  });
});

const record = (body: Uint8Array, type = 22, major = 3): Buffer =>
  Buffer.concat([Buffer.from([type, major, 1, body.length >> 8, body.length & 255]), body]);
const u16 = (value: number): number[] => [value >> 8, value & 255];
const vector = (bytes: readonly number[]): number[] => [...u16(bytes.length), ...bytes];
const text = (value: string): number[] => [...Buffer.from(value, 'latin1')];
const name = (value: string, type = 0): number[] => vector([type, ...vector(text(value))]);
type Extension = readonly [type: number, content: readonly number[]];

/** With these extensions; null: with none and no room for any. */
function made(extensions: readonly Extension[] | null, more: readonly number[] = []): Buffer {
  const list = extensions?.flatMap(([type, content]) => [...u16(type), ...vector(content)]);
  const body = [
    3,
    3,
    ...Array.from({ length: 32 }, () => 7),
    0,
    ...vector([0x13, 1]),
    1,
    0,
    ...(list ? vector(list) : []),
    ...more,
  ];
  return record(Buffer.from([1, 0, body.length >> 8, body.length & 255, ...body]));
}

describe('a made one', () => {
  test('is read', () =>
    expect(readClientHello(made([[0, name('a.example')]]))).toEqual({ state: 'hello', serverName: 'a.example' }));

  test.each<[string, Buffer, string]>([
    [
      'two names',
      made([[0, vector([0, ...vector(text('a.example')), 0, ...vector(text('b.example'))])]]),
      'server_name',
    ],
    [
      'the extension twice',
      made([
        [0, name('a.example')],
        [0, name('b.example')],
      ]),
      'not_tls',
    ],
    ['a name of another kind', made([[0, name('a.example', 1)]]), 'server_name'],
    ['an empty name', made([[0, name('')]]), 'server_name'],
    ['a NUL in the name', made([[0, name('a.example\0.evil')]]), 'server_name'],
    ['a name that is no ASCII', made([[0, name('\xe4.example')]]), 'server_name'],
    ['bytes behind the list', made([[0, [...name('a.example'), 0]]]), 'server_name'],
    [
      'an encrypted hello beside the name',
      made([
        [0, name('a.example')],
        [0xfe0d, [0, 1]],
      ]),
      'server_name',
    ],
    [
      'an encrypted name of a draft',
      made([
        [0xffce, [0]],
        [0, name('a.example')],
      ]),
      'server_name',
    ],
    ['bytes behind the extensions', made([[0, name('a.example')]], [0]), 'not_tls'],
    ['an extension that is longer than what is there', made([[0, name('a.example')]], []).fill(255, 54, 56), 'not_tls'],
    [
      'a second message in the record',
      record(Buffer.concat([made([[0, name('a.example')]]).subarray(5), Buffer.from([1])])),
      'not_tls',
    ],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n'), 'not_tls'],
    ['SSLv2', Buffer.from([0x80, 0x2e, 1, 3, 1]), 'not_tls'],
    ['an alert', record(Buffer.from([2, 0]), 21), 'not_tls'],
    ['application data', record(Buffer.from([2, 0]), 23), 'not_tls'],
    ['a ServerHello', record(Buffer.from([2, 0, 0, 1, 0])), 'not_tls'],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0]), 'not_tls'],
    ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1]), 'not_tls'],
    ['a message that is too long', record(Buffer.from([1, 0xff, 0, 0])), 'not_tls'],
    ['another protocol of TLS', Buffer.from([22, 2, 1, 0, 1]), 'not_tls'],
  ])('with %s is refused', (_what, bytes, why) => expect(readClientHello(bytes)).toEqual(refused(why)));

  test('in records of one byte each ends at a bound', () => {
    const byte = Buffer.from([22, 3, 1, 0, 1, 0]);
    const start = Buffer.from([22, 3, 1, 0, 1, 1]);
    const many = Buffer.concat([start, ...Array.from({ length: 4_000 }, () => byte)]);
    expect(readClientHello(many.subarray(0, MAX_HELLO + 6))).toEqual(refused('not_tls'));
  });
});

describe('any bytes', () => {
  test('are read to an answer, and only what stands in them is a name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(['more', 'refused']).toContain(readClientHello(bytes).state);
      }),
      { seed: 6, numRuns: 1_000 },
    );
  });

  test('made from a real one by changing some', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const bytes = Buffer.from(hello);
          for (const [at, value] of changes) bytes[at] = value;
          const read = readClientHello(bytes);
          if (read.state === 'hello') expect(bytes.includes(read.serverName)).toBe(true);
        },
      ),
      { seed: 6, numRuns: 2_000 },
    );
  });
});
