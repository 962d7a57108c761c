/** The file with the claim code: who may read it, when it is there, and that nothing else says what is in it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openClaimFile } from '../../src/cli/claim-file.ts';
import { openView, type LocalView } from '../../src/cli/state-view.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import type { StateStore } from '../../src/store/state.ts';

let dataDir: string;
let state: StateStore;
let view: LocalView;
beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'remit-claim-'));
  state = await openSqliteState(join(dataDir, 'state.db'));
  view = await openView(state, systemClock);
});
afterAll(async () => {
  await view.stop();
  await state.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const open = (more: object = {}) =>
  openClaimFile({ dataDir, org: 'default', view, issuers: ['https://idp.example'], named: false, now: 1_000, ...more });
const file = () => join(dataDir, 'claim-code');

test('PH-09: the code lies in a file that its owner alone reads, another one at each start, and goes with its use', () => {
  const first = open()!;
  expect([first.path, statSync(file()).mode & 0o777, first.until]).toEqual([file(), 0o600, 86_401_000]);
  const text = readFileSync(file(), 'utf8');
  expect(text).toMatch(/^[0-9a-f]{40}\n$/);
  expect([first.code.check(text, 2_000), first.code.check(text.replace(/./, 'x'), 2_000)]).toEqual(['right', 'wrong']);
  const second = open()!;
  expect(readFileSync(file(), 'utf8')).not.toBe(text);
  expect(second.code.check(text, 2_000)).toBe('wrong');
  second.code.close();
  expect([existsSync(file()), second.code.open(2_000)]).toEqual([false, false]);
});

test('there is none, and an old one is taken away, where nobody needs it', async () => {
  const none = async (more: object) => {
    writeFileSync(file(), 'old', { mode: 0o644 });
    return [open(more), existsSync(file())];
  };
  expect(await none({ named: true })).toEqual([null, false]);
  expect(await none({ issuers: [] })).toEqual([null, false]);
  const write = async (kind: string, id: string) => {
    const { revision } = await state.commit({
      actor: 't',
      reason: 't',
      writes: [{ kind, org: 'default', id, body: { at: 1 } }],
    });
    await view.advanceTo(revision);
  };
  await write('claim', 'first-administrator');
  expect(await none({})).toEqual([null, false]);
  await write('person', 'p');
  expect(await none({})).toEqual([null, false]);
});
