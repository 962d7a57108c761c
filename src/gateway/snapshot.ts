/**
 * One frozen picture of the governance state at one revision, prepared so that a call only looks things up:
 * people by (issuer, subject), tools with compiled schemas, locks by what they fall on, policies compiled for these tools.
 * Built when the state changes, never when a call comes. Records that no longer fit their schema are left out and reported:
 * what is left out cannot be called (fail closed).
 */
import { Approval } from '../approvals/records.ts';
import { Organisation, Person, personKey } from '../directory/records.ts';
import { compileArguments } from '../integrity/schema.ts';
import type { ArgumentCheck } from '../integrity/schema.ts';
import { ToolRecord, toolId } from '../integrity/records.ts';
import { lockIndex } from '../inventory/locks.ts';
import type { LockIndex } from '../inventory/locks.ts';
import { Lock, Server } from '../inventory/records.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import { compilePolicies, withTools } from '../policy/compile.ts';
import type { PolicySet } from '../policy/compile.ts';
import { PolicyRecord } from '../policy/records.ts';
import type { ToolFacts } from '../policy/schema.ts';
import type { StoredRecord } from '../store/state.ts';

export interface PersonEntry extends Person {
  readonly id: string;
}

export interface ToolEntry {
  readonly id: string;
  readonly revision: number;
  readonly server: string;
  readonly name: string;
  readonly record: ToolRecord;
  /** Null until somebody approved the tool. */
  readonly approved: NonNullable<ToolRecord['approved']> | null;
  readonly facts: ToolFacts | null;
  /** Null: the schema cannot be compiled safely; such a tool is uncallable. */
  readonly check: ArgumentCheck | null;
}

export interface ServerEntry {
  readonly id: string;
  readonly revision: number;
  readonly record: Server;
  readonly tools: ReadonlyMap<string, ToolEntry>;
}

export interface ApprovalEntry extends Approval {
  readonly id: string;
  readonly revision: number;
}

export interface Snapshot {
  readonly revision: number;
  readonly org: string;
  readonly organisation: Organisation | null;
  readonly people: ReadonlyMap<string, PersonEntry>;
  readonly servers: ReadonlyMap<string, ServerEntry>;
  readonly locks: LockIndex;
  /** Null: the active policies do not compile together; every decision is no. */
  readonly policies: PolicySet | null;
  readonly policyDigest: Digest | null;
  /** Undecided and unused approvals by call digest. */
  readonly approvals: ReadonlyMap<string, ApprovalEntry>;
  /** What was left out and why, for the operator. */
  readonly problems: readonly string[];
}

export type RecordsOf = (kind: string) => Iterable<StoredRecord>;

interface Parser<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { message: string } };
}

function parsed<T>(
  records: Iterable<StoredRecord>,
  schema: Parser<T>,
  problems: string[],
): Array<{ id: string; revision: number; value: T }> {
  const out: Array<{ id: string; revision: number; value: T }> = [];
  for (const record of records) {
    const result = schema.safeParse(record.body);
    if (result.success) out.push({ id: record.id, revision: record.revision, value: result.data });
    else problems.push(`${record.kind} ${record.id}: ${result.error.message}`);
  }
  return out;
}

function toolEntry(record: ToolRecord, revision: number, server: Server | undefined): ToolEntry {
  const { approved } = record;
  const id = toolId(record.server, record.name);
  const base = { id, revision, server: record.server, name: record.name, record, approved };
  if (!approved || !server) return { ...base, facts: null, check: null };
  const compiled = compileArguments((approved.definition['inputSchema'] ?? {}) as JsonObject);
  return {
    ...base,
    facts: {
      server: record.server,
      name: record.name,
      risk: approved.risk,
      scope: approved.scope,
      environment: server.environment,
      dataClasses: server.dataClasses,
    },
    check: compiled.ok ? compiled.value : null,
  };
}

/**
 * Builds the picture for one organisation. `previous` and `changed` (record kinds) let unchanged parts be kept:
 * a lock costs a lock index, not a policy compilation. `changed` null means everything.
 */
export function buildSnapshot(input: {
  readonly org: string;
  readonly revision: number;
  /** ms since the epoch: locks that ended before are left out. */
  readonly at: number;
  readonly records: RecordsOf;
  readonly previous: Snapshot | null;
  readonly changed: ReadonlySet<string> | null;
}): Snapshot {
  const { org, records, previous, changed } = input;
  const stale = (...kinds: string[]): boolean => !previous || !changed || kinds.some((kind) => changed.has(kind));
  const problems: string[] = [];

  const people = stale('person')
    ? new Map(
        parsed(records('person'), Person, problems).map(({ id, value }) => [
          personKey(value.issuer, value.subject),
          { ...value, id },
        ]),
      )
    : previous!.people;

  const organisation = stale('organisation')
    ? (parsed(records('organisation'), Organisation, problems)[0]?.value ?? null)
    : previous!.organisation;

  let servers = previous?.servers ?? new Map<string, ServerEntry>();
  if (stale('server', 'tool')) {
    const known = new Map(parsed(records('server'), Server, problems).map((entry) => [entry.id, entry]));
    const tools = new Map<string, Map<string, ToolEntry>>();
    for (const { value, revision } of parsed(records('tool'), ToolRecord, problems)) {
      const ofServer = tools.get(value.server) ?? new Map<string, ToolEntry>();
      ofServer.set(value.name, toolEntry(value, revision, known.get(value.server)?.value));
      tools.set(value.server, ofServer);
    }
    servers = new Map(
      [...known].map(([id, { revision, value }]) => [
        id,
        { id, revision, record: value, tools: tools.get(id) ?? new Map() },
      ]),
    );
  }

  let { policies, policyDigest } = previous ?? { policies: null, policyDigest: null };
  const toolFacts = (): ToolFacts[] =>
    [...servers.values()].flatMap((server) => [...server.tools.values()].flatMap((tool) => tool.facts ?? []));
  if (stale('policy')) {
    const active = parsed(records('policy'), PolicyRecord, problems)
      .filter(({ value }) => value.state === 'active')
      .map(({ id, value }) => ({ id, text: value.text }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const compiled = compilePolicies({ policies: active, tools: toolFacts() });
    if (!compiled.ok)
      problems.push(...compiled.error.map(({ policy, code, message }) => `policy ${policy}: ${code}: ${message}`));
    policies = compiled.ok ? compiled.value : null;
    policyDigest = digestOf(active);
  } else if (policies && stale('server', 'tool')) {
    policies = withTools(policies, toolFacts());
  }

  const locks = stale('lock')
    ? lockIndex(
        parsed(records('lock'), Lock, problems).map(({ id, value }) => ({ ...value, id })),
        input.at,
      )
    : previous!.locks;

  const approvals = stale('approval')
    ? new Map(
        parsed(records('approval'), Approval, problems)
          .filter(({ value }) => value.state === 'pending' || value.state === 'approved')
          .map(({ id, revision, value }) => [value.call, { ...value, id, revision }]),
      )
    : previous!.approvals;

  return Object.freeze({
    org,
    revision: input.revision,
    organisation,
    people,
    servers,
    locks,
    policies,
    policyDigest,
    approvals,
    problems: problems.length > 0 || !previous ? problems : previous.problems,
  });
}
