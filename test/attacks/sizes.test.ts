/**
 * The largest message and the deepest nesting that are taken, and one byte, one level, one member more, through the whole gateway.
 * What is taken reaches the server whole; what is not reaches nobody, is answered with what is wrong, and stands in the log.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { ENVELOPE, ERAS, LEGACY, modernHeaders, startRig, textTool } from '../support/rig.ts';
import type { Answer, Era, Rig } from '../support/rig.ts';

const MAX_BYTES = 4_194_304;
const MAX_DEPTH = 64;
const MAX_MEMBERS = 100_000;
const ANY = textTool('any', 'write', 'notes:write', { inputSchema: { type: 'object' } });

let rig: Rig;
let authorization: string;
let session: string;
beforeAll(async () => {
  rig = await startRig({
    servers: { notes: { tools: [ANY] } },
    limits: { maxBodyBytes: MAX_BYTES, maxResultBytes: 2 * MAX_BYTES },
  });
  rig.sink().onCall(() => ({ content: [] }));
  authorization = `Bearer ${rig.token('dana')}`;
  session = await rig.openSession('notes', authorization.slice(7));
});
afterAll(() => rig.stop());

/** A call whose argument `x` is the text given, written by hand so that its size and depth are known. */
const callOf = (era: Era, x: string): string => {
  const meta = era === 'modern' ? `,"_meta":${JSON.stringify(ENVELOPE)}` : '';
  return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"any","arguments":{"x":${x}}${meta}}}`;
};
const post = (era: Era, body: string, more: Record<string, string | undefined> = {}): Promise<Answer> =>
  rig.post('notes', body, {
    authorization,
    ...(era === 'modern'
      ? modernHeaders('tools/call', { name: 'any' })
      : { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY }),
    ...more,
  });
const received = (): Json | undefined => {
  const params = rig.sink().calls().at(-1)?.message?.['params'] as { arguments: JsonObject } | undefined;
  return params?.arguments['x'];
};
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
/** The message, params and arguments are three levels. */
const AROUND = 3;
/** Members around the list: jsonrpc, id, method, params, name, arguments, x, and _meta with its own. */
const membersAround = (era: Era): number => 7 + (era === 'modern' ? 1 + 2 + 3 : 0);
const list = (elements: number): string => `[${'0,'.repeat(elements - 1)}0]`;

describe.each(ERAS)('a %s client', (era) => {
  const sized = (bytes: number): string => callOf(era, `"${'x'.repeat(bytes - callOf(era, '""').length)}"`);
  const LIMITS: ReadonlyArray<readonly [what: string, at: string, beyond: string, status: number, words: RegExp]> = [
    ['4 MiB', sized(MAX_BYTES), sized(MAX_BYTES + 1), 413, /larger than 4194304 bytes|too large/],
    [
      `${MAX_DEPTH} levels`,
      callOf(era, nested(MAX_DEPTH - AROUND)),
      callOf(era, nested(MAX_DEPTH - AROUND + 1)),
      400,
      /nests too deeply/,
    ],
    [
      `${MAX_MEMBERS} members`,
      callOf(era, list(MAX_MEMBERS - membersAround(era))),
      callOf(era, list(MAX_MEMBERS - membersAround(era) + 1)),
      400,
      /too many members/,
    ],
  ];

  test.each(LIMITS)('%s is taken whole, one more is refused and recorded', async (_what, at, beyond, status, words) => {
    expect((await post(era, at)).result?.['isError']).toBeUndefined();
    const sent = JSON.parse(at) as { params: { arguments: { x: Json } } };
    expect(received()).toEqual(sent.params.arguments.x);

    const before = rig.sink().calls().length;
    // Neither a length that is declared nor one that is not makes a difference.
    for (const more of [{}, { 'Content-Length': undefined, 'Transfer-Encoding': 'chunked' }]) {
      const refused = await post(era, beyond, more);
      expect(refused.status).toBe(status);
      expect(refused.error?.message).toMatch(words);
      const [entry] = await rig.about(refused.reference);
      expect(entry).toMatchObject({ kind: 'denial', actor: { subject: 'dana@corp' }, decision: { verdict: 'deny' } });
      expect(entry?.decision?.reason).toBe(`message_refused:${refused.error?.code}`);
    }
    expect(rig.sink().calls()).toHaveLength(before);
    expect((await post(era, callOf(era, '1'))).status).toBe(200);
  });
});
