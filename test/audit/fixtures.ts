/** Logs for the tests of audit and verify: a fixed key, a fixed day, entries of every kind. */
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Digest } from '../../src/lib/canonical-json.ts';
import type { ManualClock } from '../../src/lib/clock.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { digestOf } from '../../src/lib/canonical-json.ts';
import type { Fault } from '../../src/lib/fault.ts';
import type { AuditLog } from '../../src/audit/audit-log.ts';
import { adminEntry, callEntry, denialEntry, gateEntry, intentEntry, outcomeEntry } from '../../src/audit/entries.ts';
import type { Actor, CallFacts, DecisionFacts, OutcomeFacts } from '../../src/audit/entry.ts';
import { signerOf } from '../../src/audit/keys.ts';
import type { LogSigner } from '../../src/audit/keys.ts';
import type { Ledger } from '../../src/audit/ledger.ts';
import { openAuditLog } from '../../src/audit/log.ts';
import type { AuditLogOptions } from '../../src/audit/log.ts';
import { memoryLedger } from '../support/memory-ledger.ts';

export const ORIGIN = 'remit.example/log/acme';
export const ORG = 'acme';
/** 2026-03-01T09:00:00Z */
export const DAY_MS = Date.UTC(2026, 2, 1, 9);

/** An Ed25519 key from 32 equal bytes: known to everybody, so good for nothing but tests. */
export function testKey(seed: number): KeyObject {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

export const signer: LogSigner = signerOf(ORIGIN, testKey(7));

export const actor: Actor = {
  issuer: 'https://login.acme.example',
  subject: 'u-1001',
  person: 'person_ada',
  client: 'https://ide.example/client.json',
  token: 'tok-77',
  chain: ['agent-build'],
};

export function callFacts(id: string, more: Partial<CallFacts> = {}): CallFacts {
  return {
    id,
    era: 'modern',
    method: 'tools/call',
    server: 'files',
    tool: 'write_file',
    definition: digestOf({ name: 'write_file' }),
    args: digestOf({ path: `/tmp/${id}` }),
    risk: 'write',
    ...more,
  };
}

export const allow: DecisionFacts = {
  verdict: 'allow',
  reason: null,
  rules: ['baseline-developer-write'],
  revision: 12,
  policy: digestOf('policies of revision 12') satisfies Digest,
  approval: null,
  guard: null,
};
export const deny: DecisionFacts = { ...allow, verdict: 'deny', reason: 'policy_denied', guard: 'caller-may' };
export const fine: OutcomeFacts = {
  status: 'ok',
  detail: null,
  result: digestOf({ content: [] }),
  ms: 12,
  inspected: ['secrets@1', 'text'],
  credential: 'cred-files-rw',
};

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'remit-audit-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface Opened {
  readonly ledger: Ledger;
  readonly audit: AuditLog;
  readonly clock: ManualClock;
  readonly fatal: Fault[];
}

/** A log without a timer: checkpoints are made when the test says so. */
export async function openLog<L extends Ledger>(
  ledger: L,
  more: Partial<AuditLogOptions> = {},
): Promise<Opened & { ledger: L }> {
  const clock = manualClock(DAY_MS);
  const fatal: Fault[] = [];
  const audit = await openAuditLog({
    ledger,
    org: ORG,
    origin: ORIGIN,
    signer,
    clock,
    node: 'node-a',
    checkpointEveryMs: 0,
    onFatal: (fault) => fatal.push(fault),
    ...more,
  });
  return { ledger, audit, clock: (more.clock as ManualClock | undefined) ?? clock, fatal };
}

/** Adds `count` entries of all kinds in a fixed pattern, one second apart; the last intent may stay open. */
export async function fill(
  { audit, clock }: Pick<Opened, 'audit' | 'clock'>,
  count: number,
  name = 'c',
): Promise<void> {
  let pending: { call: CallFacts; index: number } | null = null;
  for (let i = 0; i < count; i += 1) {
    clock.advance(1000);
    const stamp = audit.stamp({ ref: `ref_${name}${i}` });
    const call = callFacts(`call_${name}${i}`);
    if (pending !== null) {
      await audit.record(outcomeEntry(stamp, { actor, call: pending.call, outcome: fine, prev: pending.index }));
      pending = null;
    } else if (i % 5 === 0) {
      pending = { call, index: (await audit.record(intentEntry(stamp, { actor, call, decision: allow }))).index };
    } else if (i % 5 === 2) {
      await audit.record(
        callEntry(stamp, { actor, call: { ...call, tool: 'read_file', risk: 'read' }, decision: allow, outcome: fine }),
      );
    } else if (i % 5 === 3) {
      await audit.record(denialEntry(stamp, { actor, call, decision: deny }));
    } else {
      await audit.record(adminEntry(stamp, { what: 'tool.approved', tool: 'write_file', revision: i }, actor));
    }
  }
}

/** A closed log of `count` filled entries (plus key and gate entries) in memory. */
export async function filledLog(count: number) {
  const opened = await openLog(memoryLedger());
  await opened.audit.record(gateEntry(opened.audit.stamp(), { what: 'opened' }));
  await fill(opened, count);
  await opened.audit.checkpointNow();
  return opened;
}
