/** Verification of whole logs: what holds, what is named when it does not, and what only a checkpoint held elsewhere can show. */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { exportLog } from '../../src/audit/export.ts';
import { callEntry, denialEntry, gateEntry, intentEntry, outcomeEntry } from '../../src/audit/entries.ts';
import { formatCheckpoint } from '../../src/verify/checkpoint.ts';
import { verifyLog } from '../../src/verify/log.ts';
import type { VerifyOptions } from '../../src/verify/log.ts';
import { compactRange, leafHash } from '../../src/verify/merkle.ts';
import type { Report } from '../../src/verify/report.ts';
import { decodeBundle, encodeBundle } from '../../src/verify/tiles.ts';
import {
  actor,
  allow,
  deny,
  callFacts,
  filledLog,
  fill,
  fine,
  openLog,
  ORG,
  ORIGIN,
  signer,
  tempDir,
  testKey,
} from '../audit/fixtures.ts';
import { signerOf } from '../../src/audit/keys.ts';
import { memoryLedger } from '../support/memory-ledger.ts';

const vkeys = [signer.vkey];

function verify(dir: string, more: Partial<VerifyOptions> = {}): Promise<Report> {
  return verifyLog(dir, { vkeys, ...more });
}

/** Files of the export, by path. */
type Files = Map<string, Buffer>;

function readFiles(dir: string): Files {
  const files: Files = new Map();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(relative(dir, path), readFileSync(path));
  }
  return files;
}

function writeFiles(dir: string, files: Files): void {
  rmSync(dir, { recursive: true, force: true });
  for (const [path, bytes] of files) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), bytes);
  }
}

/** Filled once: 301 entries, so one full tile, one partial, and a second level. */
let files: Files;
/** The same log when it was shorter, with its own honest checkpoint. */
let earlier: Files;
const BUNDLES = ['tile/entries/000', 'tile/entries/001.p/45'] as const;

beforeAll(async () => {
  const opened = await filledLog(200);
  const [before, after] = [tempDirForAll(), tempDirForAll()];
  await exportLog({ ledger: opened.ledger, log: ORG, dir: before, vkeys });
  earlier = readFiles(before);
  await fill(opened, 99, 'd');
  await opened.audit.checkpointNow();
  await exportLog({ ledger: opened.ledger, log: ORG, dir: after, vkeys });
  files = readFiles(after);
  return () => [before, after].forEach((dir) => rmSync(dir, { recursive: true, force: true }));
});

function tempDirForAll(): string {
  return mkdtempSync(join(tmpdir(), 'remit-verify-'));
}

function copyOf(source: Files): { dir: string; files: Files } {
  const dir = join(tempDir(), 'log');
  const copy: Files = new Map([...source].map(([path, bytes]) => [path, Buffer.from(bytes)]));
  writeFiles(dir, copy);
  return { dir, files: copy };
}

function change(source: Files, edit: (files: Files) => void): string {
  const { dir, files: copy } = copyOf(source);
  edit(copy);
  writeFiles(dir, copy);
  return dir;
}

function editBundle(all: Files, path: string, edit: (entries: Buffer[]) => Buffer[]): void {
  all.set(path, encodeBundle(edit([...decodeBundle(all.get(path)!).entries])));
}

describe('an unchanged log', () => {
  test('verifies, says who signed it, and lists what has no outcome', async () => {
    const report = await verify(copyOf(files).dir);
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({
      verified: true,
      origin: ORIGIN,
      size: 301,
      signedBy: [`${ORIGIN}+${signer.vkey.id}`],
      kinds: { key: 1, gate: 1 },
      unfinishedCount: 0,
      firstTime: '2026-03-01T09:00:00.000Z',
    });
  });

  test('continues an earlier checkpoint that somebody kept', async () => {
    const note = earlier.get('checkpoint')!;
    const report = await verify(copyOf(files).dir, { held: [{ name: 'kept', note }] });
    expect(report.heldCheckpoints).toEqual([{ name: 'kept', size: 202, consistent: true }]);
    expect(report.verified).toBe(true);
  });

  test('verifies with partial tiles of an earlier export beside it', async () => {
    const both = new Map([...earlier, ...files]);
    expect(await verify(copyOf(both).dir)).toMatchObject({ verified: true, findings: [] });
  });

  test('verifies when full tiles stand where partial ones were, and says that the rest is not covered', async () => {
    const dir = change(files, (all) => all.set('checkpoint', earlier.get('checkpoint')!));
    const report = await verify(dir);
    expect(report.verified).toBe(true);
    expect(new Set(report.findings.map(({ severity, code }) => `${severity} ${code}`))).toEqual(
      new Set(['note not_covered']),
    );
  });
});

describe('AE-02: what was changed is named', () => {
  test('AE-02: one changed byte in an entry names that entry, its time and its call', async () => {
    const dir = change(files, (all) =>
      editBundle(all, BUNDLES[0], (entries) => {
        const text = entries[120]!.toString();
        entries[120] = Buffer.from(
          text
            .replace('write_file', 'write_fire')
            .replace('read_file', 'read_fire')
            .replace('tool.approved', 'tool.approvee'),
        );
        expect(entries[120].equals(Buffer.from(text))).toBe(false);
        return entries;
      }),
    );
    const report = await verify(dir);
    const [first] = report.findings;
    expect(report.verified).toBe(false);
    expect(first).toMatchObject({
      severity: 'error',
      code: 'entry_changed',
      index: 120,
      time: '2026-03-01T09:01:59.000Z',
    });
    expect(first?.message).toMatch(
      /^entry 120 \(2026-03-01T09:01:59\.000Z, call_c118\) was changed: what stands there hashes to/,
    );
  });

  test('AE-02: a changed stored hash is told from a changed entry', async () => {
    const dir = change(files, (all) => void (all.get('tile/0/000')![32 * 7]! ^= 1));
    const report = await verify(dir);
    expect(report.verified).toBe(false);
    expect(report.findings.find(({ code }) => code === 'entry_hash_changed')).toMatchObject({ index: 7 });
    expect(report.findings.some(({ code }) => code === 'entry_changed')).toBe(false);
  });

  test('AE-02: an entry changed together with its stored hash is named by the tile above', async () => {
    const dir = change(files, (all) => {
      editBundle(all, BUNDLES[0], (entries) => {
        entries[120] = Buffer.from(entries[120]!.toString().replace('acme', 'evil'));
        leafHash(entries[120]).copy(all.get('tile/0/000')!, 120 * 32);
        return entries;
      });
    });
    const report = await verify(dir);
    expect(report.findings.map(({ code }) => code)).toContain('tile_changed');
    expect(report.findings.find(({ code }) => code === 'tile_changed')?.message).toContain('entries 0 to 255');
    expect(report.findings.find(({ code }) => code === 'checkpoint_mismatch')?.message).toContain(
      'do not have the signed root',
    );
  });

  test('AE-02: a history rewritten in every tile is bracketed by checkpoints held elsewhere', async () => {
    const rewritten = await rewrite(files, 250);
    const held = [{ name: 'kept', note: earlier.get('checkpoint')! }];
    const report = await verify(copyOf(rewritten).dir, { held });
    expect(report.verified).toBe(false);
    expect(report.findings.map(({ message }) => message)).toContain(
      'the 301 entries do not have the signed root; the change lies in entries 202 to 300',
    );
    const older = await verify(copyOf(await rewrite(files, 100)).dir, { held });
    expect(older.findings.map(({ message }) => message)).toContain(
      'a checkpoint over 202 entries contradicts this log: something in entries 0 to 201 is not what was signed',
    );
  });

  test('AE-02: an honest but older copy is a rollback to whoever holds a later checkpoint, and looks whole to everybody else', async () => {
    const { dir } = copyOf(earlier);
    expect((await verify(dir)).verified).toBe(true);
    const report = await verify(dir, { held: [{ name: 'later', note: files.get('checkpoint')! }] });
    expect(report.findings).toMatchObject([
      {
        code: 'rolled_back',
        message: 'the checkpoint later speaks of 301 entries, this log has 202: its tail was cut or it was rolled back',
      },
    ]);
  });

  test('AE-02: a second history signed with the same key contradicts a checkpoint of the first', async () => {
    const fork = await openLog(memoryLedger());
    await fill(fork, 320, 'other');
    await fork.audit.checkpointNow();
    const dir = tempDir();
    await exportLog({ ledger: fork.ledger, log: ORG, dir, vkeys });
    expect((await verify(dir)).verified).toBe(true);
    const report = await verify(dir, { held: [{ name: 'first', note: files.get('checkpoint')! }] });
    expect(report.verified).toBe(false);
    expect(report.findings[0]).toMatchObject({ code: 'held_checkpoint_contradicts' });
  });

  test('AE-02: a checkpoint signed by another key is refused, although its name is ours', async () => {
    const thief = signerOf(ORIGIN, testKey(9));
    const dir = change(files, (all) => {
      const text = all.get('checkpoint')!.toString().split('\n\n')[0]!;
      all.set('checkpoint', Buffer.from(thief.sign(`${text}\n`)));
      all.set('log.vkey', Buffer.from(`${thief.vkey.text}\n`));
    });
    const report = await verify(dir);
    expect(report).toMatchObject({
      verified: false,
      findings: [{ code: 'checkpoint_untrusted' }, { code: 'directory_keys_differ' }],
    });
    expect(report.findings[0]?.message).toContain('signed by no key that was given');
  });

  test('AE-02: a key put beside an honest log is named, and changes nothing about what verifies', async () => {
    const { vkey: thief } = signerOf(ORIGIN, testKey(9));
    const said = async (text: string) => {
      const dir = change(files, (all) => all.set('log.vkey', Buffer.from(text)));
      const { verified, findings } = await verify(dir);
      return { verified, findings };
    };
    const differ = (what: string) => ({
      verified: true,
      findings: [
        {
          severity: 'warning',
          code: 'directory_keys_differ',
          message: `log.vkey in the directory holds ${what}: take keys from the operator of the log, never from the log`,
        },
      ],
    });
    const name = `${thief.name}+${thief.id}`;
    const once = differ(`1 not among the keys you gave (${name})`);
    expect(await said(`${thief.text}\n`)).toEqual(once);
    expect(await said(`${signer.vkey.text}\n${thief.text}\n`)).toEqual(once);
    // ATTACKER-CONTROLLED: nothing of it reaches a terminal as it is, nor without end.
    expect(await said(`\u001b[2J${'x'.repeat(500)}\na\nb\nc\n`)).toEqual(
      differ(`4 not among the keys you gave (\ufffd[2J${'x'.repeat(196)}…, a, b, …)`),
    );
    expect(await said(`# ours\r\n${signer.vkey.text}\r\n\n`)).toEqual({ verified: true, findings: [] });
    const without = change(files, (all) => void all.delete('log.vkey'));
    expect((await verify(without)).findings).toEqual([]);
    // Whoever gives both keys is told nothing.
    const both = change(files, (all) => all.set('log.vkey', Buffer.from(`${signer.vkey.text}\n${thief.text}\n`)));
    expect((await verify(both, { vkeys: [signer.vkey, thief] })).findings).toEqual([]);
  });
});

/** Replaces one entry and recomputes every tile; only the checkpoint cannot be made. */
async function rewrite(source: Files, index: number): Promise<Files> {
  const texts = BUNDLES.flatMap((path) => decodeBundle(source.get(path)!).entries.map(String));
  texts[index] = texts[index]!.replace('"node-a"', '"node-b"');
  const ledger = memoryLedger();
  for (const text of texts) await ledger.append(ORG, text);
  return await exportOf(ledger, source.get('checkpoint')!.toString(), texts.length);
}

async function exportOf(ledger: ReturnType<typeof memoryLedger>, note: string, size: number): Promise<Files> {
  ledger.setCheckpoint(ORG, { size, note });
  const dir = tempDir();
  await exportLog({ ledger, log: ORG, dir, vkeys });
  return readFiles(dir);
}

/** Deterministic random numbers (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

type Mutation = (all: Files, pick: (below: number) => number) => void;
const anyPath = (all: Files, pick: (below: number) => number, prefix: string) => {
  const paths = [...all.keys()].filter((path) => path.startsWith(prefix)).sort();
  return paths[pick(paths.length)]!;
};
const flip =
  (prefix: string): Mutation =>
  (all, pick) => {
    const bytes = all.get(anyPath(all, pick, prefix))!;
    bytes[pick(bytes.length)]! ^= 1 << pick(8);
  };
const inBundle =
  (edit: (entries: Buffer[], pick: (below: number) => number) => void): Mutation =>
  (all, pick) =>
    editBundle(all, BUNDLES[pick(2)]!, (entries) => {
      edit(entries, pick);
      return entries;
    });

const MUTATIONS: Record<string, Mutation> = {
  'a bit in an entry bundle': flip('tile/entries/'),
  'a bit in a level-0 tile': flip('tile/0/'),
  'a bit in a level-1 tile': flip('tile/1/'),
  'a bit in the checkpoint': flip('checkpoint'),
  'an entry deleted': inBundle((entries, pick) => void entries.splice(pick(entries.length), 1)),
  'an entry inserted': inBundle((entries, pick) => {
    const at = pick(entries.length);
    entries.splice(at, 0, Buffer.from(entries[at]!));
  }),
  'two entries swapped': inBundle((entries, pick) => {
    const a = pick(entries.length - 1);
    [entries[a], entries[a + 1]] = [entries[a + 1]!, entries[a]!];
  }),
  'two entries swapped with their hashes': (all, pick) =>
    editBundle(all, BUNDLES[1], (entries) => {
      const a = pick(entries.length - 1);
      [entries[a], entries[a + 1]] = [entries[a + 1]!, entries[a]!];
      all.set('tile/0/001.p/45', Buffer.concat(entries.map((entry) => leafHash(entry))));
      return entries;
    }),
  'a file cut': (all, pick) => {
    const path = anyPath(all, pick, 'tile/');
    const bytes = all.get(path)!;
    all.set(path, bytes.subarray(0, pick(bytes.length)));
  },
  'bytes appended': (all, pick) => {
    const path = anyPath(all, pick, 'tile/');
    all.set(path, Buffer.concat([all.get(path)!, Buffer.alloc(1 + pick(40), pick(256))]));
  },
  'a file removed': (all, pick) => void all.delete(pick(5) === 0 ? 'checkpoint' : anyPath(all, pick, 'tile/')),
  'the tail cut with its tiles': (all, pick) => {
    const keep = 1 + pick(44);
    editBundle(all, BUNDLES[1], (entries) => entries.slice(0, keep));
    all.set('tile/0/001.p/45', all.get('tile/0/001.p/45')!.subarray(0, keep * 32));
  },
  'the log rolled back': (all) => {
    all.clear();
    for (const [path, bytes] of earlier) all.set(path, Buffer.from(bytes));
  },
  'a smaller size under the old signature': (all, pick) => {
    const note = all.get('checkpoint')!.toString();
    all.set('checkpoint', Buffer.from(note.replace('\n301\n', `\n${pick(301)}\n`)));
  },
};

test(
  'AE-02: 1,000 seeded mutations of an exported log are all detected, with no false alarm on unmodified logs',
  { timeout: 120_000 },
  async () => {
    const pick = random(20260301);
    const names = Object.keys(MUTATIONS);
    const dir = join(tempDir(), 'log');
    const held = [{ name: 'kept', note: files.get('checkpoint')! }];
    writeFiles(dir, files);
    const undetected: string[] = [];
    const unnamed: string[] = [];
    let alarms = 0;
    for (let round = 0; round < 1000; round += 1) {
      const name = names[round % names.length]!;
      const before = new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)]));
      const mutated: Files = new Map([...before].map(([path, bytes]) => [path, Buffer.from(bytes)]));
      MUTATIONS[name]!(mutated, pick);
      for (const path of new Set([...before.keys(), ...mutated.keys()])) {
        const [was, is] = [before.get(path), mutated.get(path)];
        if (is === undefined) rmSync(join(dir, path));
        else if (was === undefined || !was.equals(is)) put(dir, path, is);
      }
      const report = await verifyLog(dir, { vkeys, held });
      if (report.verified) undetected.push(`round ${round}: ${name}`);
      if (name === 'a bit in an entry bundle') {
        const first = report.findings.find(({ code }) => code === 'entry_changed' || code === 'entries_malformed');
        const touched = firstDifference(before, mutated);
        if (first?.index === undefined || !(first.code === 'entries_malformed' || first.index === touched)) {
          unnamed.push(`round ${round}: entry ${touched} was touched, ${first?.index} was named`);
        }
      }
      for (const path of mutated.keys()) if (!before.has(path)) rmSync(join(dir, path));
      for (const [path, bytes] of before) if (!mutated.get(path)?.equals(bytes)) put(dir, path, bytes);
      if (round % 50 === 0 && !(await verifyLog(dir, { vkeys, held })).verified) alarms += 1;
    }
    expect(undetected).toEqual([]);
    expect(unnamed).toEqual([]);
    expect(alarms).toBe(0);
  },
);

function put(dir: string, path: string, bytes: Buffer): void {
  mkdirSync(join(dir, path, '..'), { recursive: true });
  writeFileSync(join(dir, path), bytes);
}

function firstDifference(a: Files, b: Files): number {
  const entries = (all: Files) =>
    BUNDLES.flatMap((path, i) => decodeBundle(all.get(path)!).entries.map((entry, j) => [i * 256 + j, entry] as const));
  const other = new Map(entries(b));
  return entries(a).find(([index, entry]) => !other.get(index)?.equals(entry))?.[0] ?? -1;
}

test('AE-02 twin: a plain hash chain that the attacker recomputes is not detected; the signed checkpoint is what detects it', async () => {
  const texts = BUNDLES.flatMap((path) => decodeBundle(files.get(path)!).entries.map(String));
  const chain = (entries: readonly string[]) => {
    let hash = '';
    return entries.map((text) => ({
      text,
      hash: (hash = createHash('sha256').update(hash).update(text).digest('hex')),
    }));
  };
  const chainHolds = (links: readonly { text: string; hash: string }[]) =>
    chain(links.map(({ text }) => text)).every(({ hash }, i) => hash === links[i]?.hash);
  const forged = texts.map((text, i) => (i === 100 ? text.replace('"node-a"', '"node-b"') : text));
  expect(forged).not.toEqual(texts);
  expect(chainHolds(chain(forged)), 'the twin accepts the forged chain').toBe(true);
  expect(chainHolds(chain(texts.slice(0, 200))), 'the twin accepts a cut chain').toBe(true);
  expect((await verify(copyOf(await rewrite(files, 100)).dir)).verified, 'the signed tree does not').toBe(false);
});

describe('a hostile directory', () => {
  test('a log without a checkpoint, or with a pipe in its place, does not verify and does not hang', async () => {
    const dir = change(files, (all) => all.delete('checkpoint'));
    mkdirSync(join(dir, 'checkpoint'));
    expect(await verify(dir)).toMatchObject({ verified: false, findings: [{ code: 'checkpoint_missing' }] });
  });

  test('a directory that is not there is a fault and not a verdict', async () => {
    await expect(verify(join(tempDir(), 'nothing'))).rejects.toThrow('ENOENT');
  });

  test('a file that belongs to no log is a warning', async () => {
    const report = await verify(change(files, (all) => all.set('tile/0/readme\u001b[2J', Buffer.from('x'))));
    expect(report.verified).toBe(true);
    expect(report.findings).toMatchObject([{ severity: 'warning', code: 'unexpected_file' }]);
    expect(report.findings[0]?.message).not.toContain('\u001b');
  });

  test('missing entries and missing hashes together end the walk with both named', async () => {
    const dir = change(files, (all) => [BUNDLES[1], 'tile/0/001.p/45'].forEach((path) => all.delete(path)));
    const report = await verify(dir);
    expect(report.verified).toBe(false);
    expect(report.findings.map(({ code }) => code).toSorted()).toEqual(['entries_missing', 'tile_missing']);
  });

  test('an unreadable earlier checkpoint beside the log is named', async () => {
    const dir = change(files, (all) => all.set('checkpoints/10', Buffer.from('nonsense')));
    expect((await verify(dir)).findings).toMatchObject([{ code: 'held_checkpoint_unusable' }]);
  });
});

describe('a history that was signed and makes no sense', () => {
  /** Signs arbitrary texts: what a gateway with a fault, or an insider with the key, could produce. */
  async function signed(texts: readonly string[]): Promise<string> {
    const ledger = memoryLedger();
    const range = compactRange();
    for (const text of texts) {
      await ledger.append(ORG, text);
      range.push(leafHash(text));
    }
    const note = signer.sign(formatCheckpoint({ origin: ORIGIN, size: texts.length, root: range.root() }));
    return copyOf(await exportOf(ledger, note, texts.length)).dir;
  }
  const clock = '{"kind":"clock","node":"n","org":"acme","time":"2026-03-01T09:00:00.000Z","v":1}';
  const at = (seconds: number, kind: string, rest = '') =>
    `{${rest === '' ? '' : `${rest},`}"kind":"${kind}","node":"n","org":"acme","time":"2026-03-01T09:00:${String(seconds).padStart(2, '0')}.000Z","v":1}`;

  test.each([
    ['not JSON', 'hello', 'entry_not_canonical', 'entry 1 is not a canonical JSON object (RFC 8785)'],
    [
      'members out of order',
      '{"v":1,"kind":"clock"}',
      'entry_not_canonical',
      'entry 1 is not a canonical JSON object (RFC 8785)',
    ],
    [
      'a duplicate member',
      clock.replace('{', '{"kind":"clock",'),
      'entry_not_canonical',
      'entry 1 is not a canonical JSON object (RFC 8785)',
    ],
    ['a space', clock.replace(',', ', '), 'entry_not_canonical', 'entry 1 is not a canonical JSON object (RFC 8785)'],
    [
      'depth without end',
      '['.repeat(5000) + ']'.repeat(5000),
      'entry_not_canonical',
      'entry 1 is not a canonical JSON object (RFC 8785)',
    ],
    ['another version', clock.replace('"v":1', '"v":2'), 'entry_malformed', 'entry 1 has no valid "v"'],
    ['an unknown kind', clock.replace('"clock"', '"toString"'), 'entry_malformed', 'entry 1 is of an unknown kind'],
    ['a date that does not exist', clock.replace('03-01', '02-30'), 'entry_malformed', 'entry 1 has no valid "time"'],
    [
      'an intent without a call',
      clock.replace('"clock"', '"intent"'),
      'entry_malformed',
      'entry 1 of kind intent has no "actor"',
    ],
    [
      'a link to nothing earlier',
      at(1, 'clock').replace('"time"', '"prev":7,"time"'),
      'link_broken',
      'entry 1 points to entry 7, which is not an earlier entry of the same call',
    ],
    [
      'another organisation',
      clock.replace('"acme"', '"evil"'),
      'foreign_organisation',
      'entry 1 is of organisation "evil" in the log of "acme"',
    ],
  ])('names an entry with %s', async (_, text, code, message) => {
    const report = await verify(await signed([clock, text]));
    expect(report.verified).toBe(false);
    expect(report.findings).toContainEqual(expect.objectContaining({ severity: 'error', code, message, index: 1 }));
  });

  test('a member this verifier does not know is a warning', async () => {
    const report = await verify(await signed([`{"extra":1,${clock.slice(1)}`]));
    expect(report).toMatchObject({ verified: true, findings: [{ severity: 'warning', code: 'entry_unknown_member' }] });
  });

  test('who answers for an agent that acted alone is a member like any other', async () => {
    const opened = await openLog(memoryLedger());
    const { audit } = opened;
    const alone = { ...actor, person: 'agent/agent_1', owner: 'person_ada' };
    await audit.record(
      callEntry(audit.stamp(), { actor: alone, call: callFacts('c'), decision: allow, outcome: fine }),
    );
    await audit.checkpointNow();
    const dir = tempDir();
    await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys });
    expect(await verify(dir)).toMatchObject({ verified: true, findings: [] });
  });

  test('an outcome without its intent, a second outcome, and an outcome amended after a lock are told apart', async () => {
    const opened = await openLog(memoryLedger());
    const { audit } = opened;
    const call = callFacts('call_1');
    const outcome = (prev: number, of = call) =>
      audit.record(outcomeEntry(audit.stamp(), { actor, call: of, outcome: { ...fine, status: 'withheld' }, prev }));
    const intent = await audit.record(intentEntry(audit.stamp(), { actor, call, decision: allow }));
    const first = await outcome(intent.index);
    await outcome(intent.index);
    await outcome(first.index);
    await outcome(intent.index, callFacts('call_2'));
    const refused = await audit.record(denialEntry(audit.stamp(), { actor, call, decision: deny, prev: first.index }));
    await outcome(refused.index);
    const read = await audit.record(callEntry(audit.stamp(), { actor, call, decision: deny, outcome: fine }));
    await outcome(read.index);
    await audit.checkpointNow();
    const dir = tempDir();
    await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys });
    expect((await verify(dir)).findings.map(({ severity, code, index }) => [severity, code, index])).toEqual([
      ['error', 'link_broken', 5],
      ['error', 'outcome_without_intent', 7],
      ['warning', 'outcome_repeated', 3],
      ['note', 'outcome_amended', 4],
      ['note', 'outcome_amended', 9],
    ]);
  });

  test('intents without an outcome are listed, and those a recovery named are told from those still in flight', async () => {
    const opened = await openLog(memoryLedger());
    for (const id of ['call_lost', 'call_flying']) {
      await opened.audit.record(intentEntry(opened.audit.stamp(), { actor, call: callFacts(id), decision: allow }));
    }
    await opened.audit.record(gateEntry(opened.audit.stamp(), { what: 'recovered', unknown: 1, calls: ['call_lost'] }));
    await opened.audit.checkpointNow();
    const dir = tempDir();
    await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys });
    const report = await verify(dir);
    expect(report.verified).toBe(true);
    expect(report.unfinished.map(({ call, index, recoveredAt }) => [call, index, recoveredAt])).toEqual([
      ['call_lost', 1, 3],
      ['call_flying', 2, null],
    ]);
  });

  test('silence longer than promised is a warning, an orderly stop a note, a clock that runs back a warning', async () => {
    const closed = '"event":{"what":"closed"}';
    const dir = await signed([
      at(0, 'clock'),
      at(20, 'clock'),
      at(21, 'gate', closed),
      at(50, 'clock'),
      at(40, 'clock'),
    ]);
    const report = await verify(dir);
    expect(report.verified).toBe(true);
    expect(report.findings.map(({ severity, code, index }) => [severity, code, index])).toEqual([
      ['warning', 'silence', 1],
      ['warning', 'clock_went_back', 4],
      ['note', 'stopped', 3],
    ]);
    expect((await verify(dir, { gapMs: 60_000 })).findings.map(({ code }) => code)).toEqual(['clock_went_back']);
  });
});

test('the export that is verified can be moved and copied', async () => {
  const { dir } = copyOf(files);
  const copy = join(tempDir(), 'elsewhere');
  cpSync(dir, copy, { recursive: true });
  renameSync(copy, `${copy}-moved`);
  expect((await verify(`${copy}-moved/`)).verified).toBe(true);
});
