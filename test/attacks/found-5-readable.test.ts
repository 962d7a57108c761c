/**
 * What was found against the page of a held call: arguments within the bound on bytes that took a node minutes to show, by one long run of a
 * letter, or by one long name over many values. Whoever opened the page stopped all calls.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { leavesOf } from '../../src/admin/pages/arguments.ts';
import { piecesOf } from '../../src/admin/pages/visible.ts';
import { isReadable } from '../../src/approvals/readable.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, textTool } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

const LONG_NAME: JsonObject = { ['n'.repeat(50_000)]: Array.from({ length: 1_000 }, () => 0) };
const MANY: JsonObject = { ids: Array.from({ length: 60_000 }, () => 0) };

describe('AP-02: what people can read', () => {
  test.each<[string, JsonObject, boolean]>([
    ['nothing', {}, true],
    ['a long text', { text: 'k'.repeat(250_000) }, true],
    ['a thousand ids', { ids: Array.from({ length: 1_000 }, (_, at) => `id-${at}`) }, true],
    ['more bytes than anybody reads', { text: 'k'.repeat(262_144) }, false],
    ['more values than anybody reads', MANY, false],
    ['as many empty ones', { list: Array.from({ length: 60_000 }, () => []) }, false],
    ['one long name over many values', LONG_NAME, false],
  ])('AP-02: %s', (_what, args, readable) => {
    expect(isReadable(args)).toBe(readable);
  });

  test('AP-02 twin: by bytes alone, one long name over many values is a page of fifty million characters', () => {
    expect(Buffer.byteLength(JSON.stringify(LONG_NAME))).toBeLessThan(262_144);
    expect(leavesOf(LONG_NAME).reduce((sum, { path }) => sum + path.length, 0)).toBeGreaterThan(50_000_000);
  });

  test.each(['k', '\u00e9', '\u200b', '\u0301', ' ', '\u0634'])(
    'AP-02: a run of %j is looked at once, however long it is',
    (letter) => {
      const begun = performance.now();
      piecesOf(letter.repeat(250_000));
      expect(performance.now() - begun).toBeLessThan(5_000);
    },
  );
});

describe('AP-02: a call that nobody could read', () => {
  let rig: Rig;
  afterEach(() => rig.stop());

  test('AP-02: is put before nobody and sent nowhere; one within the bounds is held', async () => {
    const inputSchema = { type: 'object', properties: {}, additionalProperties: true };
    const tools = [textTool('wipe', 'destructive', 'notes:delete', { inputSchema })];
    rig = await startRig({ admin: true, servers: { notes: { tools } } });
    for (const args of [LONG_NAME, MANY]) {
      const answer = await rig.call('notes', 'wipe', args, { as: 'omar' });
      expect(answer.text).toContain('its arguments are larger than anybody can read. Nothing was sent.');
    }
    expect([...rig.view.records('approval', 'default')]).toEqual([]);
    await rig.call('notes', 'wipe', { all: true }, { as: 'omar' });
    expect([...rig.view.records('approval', 'default')]).toHaveLength(1);
    expect(rig.sink().calls()).toHaveLength(0);
  });
});
