/**
 * One frozen picture of the governance state at one revision, prepared so that a call only looks things up:
 * people by (issuer, subject), items with compiled schemas and templates, locks by what they fall on, policies compiled for these tools.
 * Built when the state changes, never when a call comes. Records that no longer fit their schema are left out and reported:
 * what is left out cannot be called (fail closed).
 */
import { Approval } from '../approvals/records.ts';
import { peopleIndex } from '../directory/people.ts';
import type { KnownPerson, PeopleIndex } from '../directory/people.ts';
import { Contact, EventStream, Group, Mapping, Organisation, Person, ScimConnection } from '../directory/records.ts';
import { mappingIndex } from '../directory/roles.ts';
import type { GroupIndex, MappingIndex } from '../directory/roles.ts';
import { Void, voidIndex, withVoids } from '../directory/voids.ts';
import type { VoidIndex } from '../directory/voids.ts';
import { InspectionPolicy } from '../content/records.ts';
import { compileRules } from '../content/rules.ts';
import type { Rules } from '../content/rules.ts';
import { fitOf } from '../integrity/fit.ts';
import type { ArgumentCheck } from '../integrity/schema.ts';
import { ToolRecord, itemKey, toolId } from '../integrity/records.ts';
import type { Approved, ItemKind } from '../integrity/records.ts';
import { recordIsSound } from '../integrity/standing.ts';
import { compileTemplate } from '../integrity/uri-template.ts';
import type { Template } from '../integrity/uri-template.ts';
import { Agent, agentIndex } from '../inventory/agents.ts';
import type { AgentIndex } from '../inventory/agents.ts';
import { lockIndex } from '../inventory/locks.ts';
import type { LockIndex } from '../inventory/locks.ts';
import { credentialIn, secretsOf } from '../inventory/credentials.ts';
import { worksIn } from '../inventory/lifecycle.ts';
import { Lock, Server } from '../inventory/records.ts';
import type { Switches } from '../inventory/records.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import { plainUri } from '../lib/plain-uri.ts';
import type { Parameter } from '../lib/typed-arguments.ts';
import { parameterTable } from '../lib/typed-arguments.ts';
import { compilePolicies, withTools } from '../policy/compile.ts';
import type { PolicySet } from '../policy/compile.ts';
import { compileGrant } from '../policy/grant-policies.ts';
import { Grant, ScopeRecord } from '../policy/grants.ts';
import { PolicyRecord } from '../policy/records.ts';
import { labelBits, labelsOf } from '../policy/labels.ts';
import type { Labels } from '../policy/labels.ts';
import type { ToolFacts } from '../policy/schema.ts';
import { scopeIndex } from '../policy/scopes.ts';
import type { RecordName, StoredRecord } from '../store/state.ts';
import { tokenOf } from '../upstream/oauth/held-tokens.ts';

export type PersonEntry = KnownPerson;

/** Somebody who tells us about people: a provisioning connection or an event stream. */
export interface IdentitySource {
  readonly kind: 'scim_connection' | 'event_stream';
  readonly title: string;
  /** ms since the epoch of its last word; null: never yet. */
  readonly contactAt: number | null;
  /** Null: silence is nothing special. */
  readonly silenceAfterMs: number | null;
  readonly whenSilent: 'alarm' | 'refuse';
}

/** A tool or another item of a server (decision 0008). */
export interface ToolEntry {
  readonly id: string;
  readonly revision: number;
  readonly server: string;
  readonly kind: ItemKind;
  /** What the protocol calls it by. */
  readonly name: string;
  /** What everything else calls it by inside its server: policies, locks, sightings, entries. */
  readonly key: string;
  readonly record: ToolRecord;
  /** Null until somebody approved it. */
  readonly approved: NonNullable<ToolRecord['approved']> | null;
  readonly facts: ToolFacts | null;
  /** JSON Schema that `check` checks; null together with it. */
  readonly schema: JsonObject | null;
  /** Null: what callers send cannot be checked safely; such an item is unusable. */
  readonly check: ArgumentCheck | null;
  /** Arguments in one spelling; null, the usual case: none of them is typed. */
  readonly typed: readonly Parameter[] | null;
  /** The switch of its server that takes it away; null: none does. */
  readonly switchedOff: Exclude<keyof Switches, 'reachable'> | null;
  /** What a trace is labelled with that gets something from it; null: nothing. */
  readonly gives: Labels | null;
}

/** An approved resource template, ready to read URIs. */
export interface TemplateEntry {
  readonly entry: ToolEntry;
  readonly match: Template['match'];
}

export interface ServerEntry {
  readonly id: string;
  readonly revision: number;
  readonly record: Server;
  /** Enabled and not switched off. Locks are asked with the time. */
  readonly inService: boolean;
  /** Items of every kind, by key. */
  readonly tools: ReadonlyMap<string, ToolEntry>;
  /** The most specific first: longest literal beginning, then by text. */
  readonly templates: readonly TemplateEntry[];
  /** Of the resources that have a record, under whatever standing: no other spelling of them is read under a template. */
  readonly plainUris: ReadonlySet<string>;
  /** What it is shown to sign in with, as matchers of own secrets call it: it may be sent those (CI-03). */
  readonly ownSecrets: ReadonlySet<string>;
}

export interface ApprovalEntry extends Approval {
  readonly id: string;
  readonly revision: number;
}

export interface Snapshot {
  readonly revision: number;
  /** The revision of the newest change of anything but people and what is said of them: what a person may see changes with it or with the person. */
  readonly rulesRevision: number;
  readonly org: string;
  readonly organisation: Organisation | null;
  readonly people: PeopleIndex;
  readonly groups: GroupIndex;
  /** The revision of the newest change of what groups give: a change of members writes a group's record, too, and moves nobody else's rights. */
  readonly groupsRevision: number;
  readonly mappings: MappingIndex;
  readonly agents: AgentIndex;
  /** Null: a void record cannot be read, so no token can be known to be free of it; every call is refused. */
  readonly voids: VoidIndex | null;
  /** Active ones, by record id. */
  readonly sources: ReadonlyMap<string, IdentitySource>;
  /** Event streams whose silence closes the door, by the issuer of the tokens of the people they speak of. */
  readonly doors: ReadonlyMap<string, readonly string[]>;
  /** Issuers of whose people a provisioning connection tells: whom it does not know is nobody. */
  readonly provisioned: ReadonlySet<string>;
  readonly servers: ReadonlyMap<string, ServerEntry>;
  /** Null: a lock record cannot be read, so nobody can be known to be free of it; every call is refused. */
  readonly locks: LockIndex | null;
  /** Which scopes include others, by scope. */
  readonly scopes: ReadonlyMap<string, ScopeRecord>;
  /** Null: a policy cannot be read or they do not compile together (a lost `forbid` would permit); every decision is no. */
  readonly policies: PolicySet | null;
  readonly policyDigest: Digest | null;
  /** What is done about content. Null: the record cannot be read (a lost rule would let something out); nothing is sent to a server. */
  readonly inspection: Rules | null;
  /** Undecided and unused approvals by call digest. */
  readonly approvals: ReadonlyMap<string, readonly ApprovalEntry[]>;
  /** The newest denial of each call within the last day. */
  readonly denied: ReadonlyMap<string, ApprovalEntry>;
  /** What was left out and why, for the operator, by record kind. */
  readonly problems: ReadonlyMap<string, readonly string[]>;
}

export type RecordsOf = (kind: string) => Iterable<StoredRecord>;

interface Parser<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { message: string } };
}

interface Entry<T> {
  readonly id: string;
  readonly revision: number;
  readonly value: T;
}

interface Parsed<T> {
  readonly entries: ReadonlyArray<Entry<T>>;
  readonly problems: readonly string[];
}

/** Records are replaced, never changed, so what was parsed once stays true; schemas compiled from a definition stay compiled. */
const PARSED = new WeakMap<StoredRecord, Entry<unknown> | string>();

function parsed<T>(
  records: Iterable<StoredRecord>,
  schema: Parser<T>,
  sound: (value: T) => boolean = () => true,
): Parsed<T> {
  const entries: Array<Entry<T>> = [];
  const problems: string[] = [];
  for (const record of records) {
    let known = PARSED.get(record);
    if (known === undefined) {
      const result = schema.safeParse(record.body);
      if (!result.success) known = `${record.kind} ${record.id}: ${result.error.message}`;
      else if (!sound(result.data)) known = `${record.kind} ${record.id}: its digests do not fit its content`;
      else known = { id: record.id, revision: record.revision, value: result.data };
      PARSED.set(record, known);
    }
    if (typeof known === 'string') problems.push(known);
    else entries.push(known as Entry<T>);
  }
  return { entries, problems };
}

/** What changed between two revisions, record by record. */
export interface Touched {
  of(kind: string): readonly Step[];
}

interface Step {
  readonly id: string;
  /** As it is now; undefined: it is gone. */
  readonly record: StoredRecord | undefined;
}

/** Kinds that change all day in a large directory, one person at a time. */
const ABOUT_PEOPLE: ReadonlySet<string> = new Set(['person', 'contact', 'void', 'approval']);

/** More than this at once: building the index anew is as quick. */
const ONE_BY_ONE = 5_000;

export function touchedBy(
  names: readonly RecordName[],
  org: string,
  get: (kind: string, org: string, id: string) => StoredRecord | undefined,
): Touched {
  return {
    of: (kind) => {
      const ids = new Set(names.filter((name) => name.kind === kind && name.org === org).map(({ id }) => id));
      return [...ids].map((id) => ({ id, record: get(kind, org, id) }));
    },
  };
}

const knownPerson = ({ id, value }: Entry<Person>): KnownPerson => ({ ...value, id });

/** One person more, less or other. A record that fits no schema is nobody, as in the whole index. */
function stepOf({ id, record }: Step, problems: Map<string, readonly string[]>): readonly [string, KnownPerson | null] {
  const { entries, problems: unreadable } = parsed(record === undefined ? [] : [record], Person);
  const others = (problems.get('person') ?? []).filter((line) => !line.startsWith(`person ${id}: `));
  if (unreadable.length > 0 || others.length !== (problems.get('person')?.length ?? 0))
    problems.set('person', [...others, ...unreadable]);
  return [id, entries[0] ? knownPerson(entries[0]) : null];
}

type Approvals = Pick<Snapshot, 'approvals' | 'denied'>;
const NO_APPROVALS: Approvals = { approvals: new Map(), denied: new Map() };
/** Denials older than this hold nobody back. */
const DENIED_MS = 24 * 3_600_000;

function approvalsOf(entries: ReadonlyArray<Entry<Approval>>, base: Approvals, at: number): Approvals {
  const approvals = new Map(base.approvals);
  const denied = new Map(base.denied);
  for (const { id, revision, value } of entries) {
    const entry: ApprovalEntry = { ...value, id, revision };
    const { call } = value;
    if (value.state === 'pending' || value.state === 'approved') {
      approvals.set(call, [...(approvals.get(call) ?? []), entry]);
    } else if (value.state === 'denied' && (value.decidedAt ?? 0) > at - DENIED_MS) {
      if ((denied.get(call)?.decidedAt ?? 0) < (value.decidedAt ?? 0)) denied.set(call, entry);
    }
  }
  return { approvals, denied };
}

/** Held calls come and go all day, and those that are over stay: only what changed is read. */
function withApprovals(
  before: Approvals,
  steps: readonly Step[],
  at: number,
  problems: Map<string, readonly string[]>,
): Approvals {
  const ids = new Set(steps.map(({ id }) => id));
  const approvals = new Map<string, readonly ApprovalEntry[]>();
  for (const [call, entries] of before.approvals) {
    const rest = entries.some(({ id }) => ids.has(id)) ? entries.filter(({ id }) => !ids.has(id)) : entries;
    if (rest.length > 0) approvals.set(call, rest);
  }
  const denied = new Map([...before.denied].filter(([, { decidedAt }]) => (decidedAt ?? 0) > at - DENIED_MS));
  const { entries, problems: unreadable } = parsed(
    steps.flatMap(({ record }) => record ?? []),
    Approval,
  );
  const others = (problems.get('approval') ?? []).filter(
    (line) => !steps.some(({ id }) => line.startsWith(`approval ${id}: `)),
  );
  if (unreadable.length > 0 || others.length !== (problems.get('approval')?.length ?? 0))
    problems.set('approval', [...others, ...unreadable]);
  return approvalsOf(entries, { approvals, denied }, at);
}

function toolEntry(record: ToolRecord, revision: number, server: Server | undefined): ToolEntry {
  const { approved, kind, name } = record;
  const key = itemKey(kind, name);
  const id = toolId(record.server, key);
  const base = { id, revision, server: record.server, kind, name, key, record, approved };
  if (!approved || !server)
    return { ...base, facts: null, schema: null, check: null, typed: null, switchedOff: null, gives: null };
  const fit = fitOf(kind, approved.definition);
  return {
    ...base,
    facts: {
      server: record.server,
      name: key,
      kind,
      risk: approved.risk,
      scope: approved.scope,
      environment: server.environment,
      dataClasses: server.dataClasses,
      ...(approved.outward && { outward: true }),
      ...(approved.parameters && { parameters: approved.parameters }),
    },
    schema: fit.ok ? fit.value.schema : null,
    check: fit.ok ? fit.value.check : null,
    typed: parameterTable(approved.parameters),
    switchedOff: switchedOff(approved, server),
    gives: givenBy(approved, server),
  };
}

/** Private: classes above the threshold, and what production holds unless it is all public or the review says that none of it is read. */
function givenBy({ untrustedOutput, productionData }: Approved, server: Server): Labels | null {
  const untrusted = untrustedOutput === true;
  const { dataClasses, environment } = server;
  const everybodys = dataClasses.length > 0 && dataClasses.every((one) => one === 'public');
  const ofProduction = productionData ?? (environment === 'production' && !everybodys);
  const bits = labelBits({
    untrusted,
    private: ofProduction,
    confidential: dataClasses.includes('confidential'),
    regulated: dataClasses.includes('regulated'),
  });
  return bits === 0 ? null : labelsOf(bits);
}

/** AZ-14. The facts stay: a URI under a template that is switched off must not fall to another template. */
function switchedOff(approved: Approved, { switches, environment }: Server): ToolEntry['switchedOff'] {
  if (!switches.writes && approved.risk !== 'read') return 'writes';
  const production = approved.productionData ?? environment === 'production';
  return production && !switches.productionData ? 'productionData' : null;
}

function templatesOf(tools: ReadonlyMap<string, ToolEntry>): readonly TemplateEntry[] {
  const compiled: Array<{ readonly entry: ToolEntry; readonly template: Template }> = [];
  for (const entry of tools.values()) {
    if (entry.kind !== 'template' || !entry.facts || !entry.check) continue;
    const template = compileTemplate(entry.name);
    if (template.ok) compiled.push({ entry, template: template.value });
  }
  return compiled
    .sort((a, b) => b.template.prefix.length - a.template.prefix.length || (a.entry.name < b.entry.name ? -1 : 1))
    .map(({ entry, template }) => ({ entry, match: template.match }));
}

/**
 * The item that a request names. ATTACKER-CONTROLLED: the name. A key is looked up, so `tools/call` of "prompt greeting" would find the
 * prompt, pass as approved and reach the tool "greeting" that nobody reviewed: the kind must be the one that was asked for.
 */
export function itemNamed(server: ServerEntry, kind: ItemKind, name: string): ToolEntry | undefined {
  const item = server.tools.get(itemKey(kind, name));
  return item?.kind === kind ? item : undefined;
}

/**
 * Whose a URI is: of the approved resource of exactly that URI, else of the first approved template that it fits. Null: nobody's, "not found".
 * `variables` are the values in the template, for the policy. Says nothing about standing, locks or who asks: the guards do.
 */
export function resolveUri(
  server: ServerEntry,
  uri: string,
): { readonly item: ToolEntry; readonly variables: JsonObject } | null {
  const exact = itemNamed(server, 'resource', uri);
  if (exact?.facts) return { item: exact, variables: {} };
  // ATTACKER-CONTROLLED: the spelling. A server that undoes it would hand out that resource under the template's review.
  if (!exact && server.plainUris.has(plainUri(uri))) return null;
  for (const { entry, match } of server.templates) {
    const variables = match(uri);
    if (variables) return { item: entry, variables };
  }
  return null;
}

const textsIn = (values: readonly unknown[]): string[] => values.filter((value) => typeof value === 'string');
/** Null: it names none that could be read. */
const issuersIn = ({ issuer }: JsonObject): readonly string[] | null => (typeof issuer === 'string' ? [issuer] : null);
const issuersOf = ({ body: { issuers } }: StoredRecord): readonly string[] =>
  Array.isArray(issuers) ? textsIn(issuers) : [];

/** A source that cannot be read closes the door as it says, and where it does not say so, at once: nobody can know that it may stay open. */
function unreadSource({ state, title, silenceAfterMs, whenSilent }: JsonObject): Omit<
  IdentitySource,
  'kind' | 'contactAt'
> & {
  readonly state: string;
} {
  return {
    state: state === 'disabled' ? 'disabled' : 'active',
    title: typeof title === 'string' ? title : 'cannot be read',
    silenceAfterMs: silenceAfterMs === null || typeof silenceAfterMs === 'number' ? silenceAfterMs : 0,
    whenSilent: whenSilent === 'alarm' ? 'alarm' : 'refuse',
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
  /** The records that changed, when they are known one by one: an index of many people then takes one step instead of being built anew. */
  readonly touched?: Touched;
}): Snapshot {
  const { org, records, previous, changed, touched } = input;
  const stale = (...kinds: string[]): boolean => !previous || !changed || kinds.some((kind) => changed.has(kind));
  const problems = new Map(previous?.problems);
  const read = <T>(kind: string, schema: Parser<T>, sound?: (value: T) => boolean): Parsed<T> => {
    const result = parsed(records(kind), schema, sound);
    problems.set(kind, result.problems);
    return result;
  };

  let people = previous?.people ?? peopleIndex([]);
  if (stale('person')) {
    const steps = previous && touched?.of('person');
    if (steps && steps.length <= ONE_BY_ONE) people = people.with(steps.map((step) => stepOf(step, problems)));
    else people = peopleIndex(read('person', Person).entries.map(knownPerson));
  }

  let { groups, groupsRevision } = previous ?? { groups: new Map<string, Group>(), groupsRevision: input.revision };
  if (stale('group')) {
    // Membership stands at the person: one whose record cannot be read gives no roles, but a forbid on it does not lapse.
    const unread = [...records('group')].map(({ id }): [string, Group] => [id, { name: id, roles: [] }]);
    groups = new Map([...unread, ...read('group', Group).entries.map(({ id, value }): [string, Group] => [id, value])]);
    const given = (index: GroupIndex | undefined, id: string): string | undefined => index?.get(id)?.roles.join();
    const same = touched?.of('group').every(({ id }) => given(previous?.groups, id) === given(groups, id));
    if (!same) groupsRevision = input.revision;
  }
  const agents = stale('agent')
    ? agentIndex(read('agent', Agent).entries.map(({ id, value }) => ({ ...value, id })))
    : previous!.agents;

  let mappings = previous?.mappings ?? new Map<string, Mapping | null>();
  if (stale('mapping', 'organisation')) {
    const { entries, problems: unreadable } = read('mapping', Mapping);
    // One that cannot be read might have kept another tenant out: until it can be, no issuer with a mapping is believed.
    const index = mappingIndex(entries.map(({ value }) => value));
    const untrusted = (): readonly string[] => [
      ...index.keys(),
      ...[...records('mapping')].flatMap(
        ({ body }) => issuersIn(body) ?? [...records('organisation')].flatMap(issuersOf),
      ),
    ];
    mappings = unreadable.length === 0 ? index : new Map(untrusted().map((issuer) => [issuer, null]));
  }

  let voids = previous?.voids ?? null;
  if (stale('void')) {
    const steps = previous?.voids ? touched?.of('void') : undefined;
    const fresh = steps?.map(({ record }) => (record === undefined ? null : parsed([record], Void)));
    if (voids && fresh?.every((one) => one?.problems.length === 0)) {
      voids = withVoids(
        voids,
        fresh.flatMap((one) => one?.entries.map(({ value }) => value) ?? []),
      );
    } else {
      const { entries, problems: unreadable } = read('void', Void);
      voids = unreadable.length === 0 ? voidIndex(entries.map(({ value }) => value)) : null;
    }
  }

  let sources = previous?.sources ?? new Map<string, IdentitySource>();
  let doors = previous?.doors ?? new Map<string, readonly string[]>();
  let provisioned = previous?.provisioned ?? new Set<string>();
  if (stale('scim_connection', 'event_stream', 'contact')) {
    const contacts = new Map(read('contact', Contact).entries.map(({ id, value }) => [id, value.at]));
    const sourcesOf = <T extends ScimConnection | EventStream>(kind: IdentitySource['kind'], schema: Parser<T>) => {
      const readable = new Set(read(kind, schema).entries.map(({ id }) => id));
      return [...records(kind)].flatMap((record): ReadonlyArray<readonly [string, IdentitySource]> => {
        const value = readable.has(record.id) ? (record.body as unknown as T) : unreadSource(record.body);
        if (value.state !== 'active') return [];
        const { title, silenceAfterMs, whenSilent } = value;
        return [[record.id, { kind, title, contactAt: contacts.get(record.id) ?? null, silenceAfterMs, whenSilent }]];
      });
    };
    sources = new Map([...sourcesOf('scim_connection', ScimConnection), ...sourcesOf('event_stream', EventStream)]);
    const byIssuer = new Map<string, string[]>();
    for (const { id, body } of records('event_stream')) {
      const source = sources.get(id);
      if (source?.kind !== 'event_stream' || source.whenSilent !== 'refuse' || source.silenceAfterMs === null) continue;
      for (const issuer of new Set(
        isJsonObject(body['issuers']) ? textsIn(Object.values(body['issuers'])) : issuersIn(body),
      ))
        byIssuer.set(issuer, [...(byIssuer.get(issuer) ?? []), id]);
    }
    doors = byIssuer;
    provisioned = new Set(
      read('scim_connection', ScimConnection).entries.flatMap(({ value }) =>
        value.state === 'active' ? value.identities.map(({ issuer }) => issuer) : [],
      ),
    );
  }

  const organisation = stale('organisation')
    ? (read('organisation', Organisation).entries[0]?.value ?? null)
    : previous!.organisation;

  let servers = previous?.servers ?? new Map<string, ServerEntry>();
  if (stale('server', 'tool')) {
    const known = new Map(read('server', Server).entries.map((entry) => [entry.id, entry]));
    const tools = new Map<string, Map<string, ToolEntry>>();
    for (const { value, revision } of read('tool', ToolRecord, recordIsSound).entries) {
      const ofServer = tools.get(value.server) ?? new Map<string, ToolEntry>();
      const entry = toolEntry(value, revision, known.get(value.server)?.value);
      ofServer.set(entry.key, entry);
      tools.set(value.server, ofServer);
    }
    servers = new Map(
      [...known].map(([id, { revision, value }]) => {
        const ofServer = tools.get(id) ?? new Map<string, ToolEntry>();
        const resources = [...ofServer.values()].filter(({ kind }) => kind === 'resource');
        const plainUris = new Set(resources.map(({ name }) => plainUri(name)));
        const inService = worksIn('server', value.state) && value.switches.reachable;
        return [
          id,
          {
            id,
            revision,
            record: value,
            inService,
            tools: ofServer,
            templates: templatesOf(ofServer),
            plainUris,
            ownSecrets: new Set([
              tokenOf(id),
              ...secretsOf(value.upstream).map(({ secret }) => credentialIn(secret) ?? secret),
            ]),
          },
        ];
      }),
    );
  }

  let { policies, policyDigest } = previous ?? { policies: null, policyDigest: null };
  const toolFacts = (): ToolFacts[] =>
    [...servers.values()].flatMap((server) => [...server.tools.values()].flatMap((tool) => tool.facts ?? []));
  const scopes = stale('scope')
    ? new Map(read('scope', ScopeRecord).entries.map(({ id, value }) => [id, value]))
    : previous!.scopes;
  if (stale('policy', 'grant', 'scope')) {
    const { entries, problems: unreadable } = read('policy', PolicyRecord);
    const active = entries
      .filter(({ value }) => value.state === 'active')
      .map(({ id, value }) => ({ id, text: value.text }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    // A grant only permits: one that cannot be read is left out and reported, and the others hold.
    const granted = read('grant', Grant);
    const grants = granted.entries
      .filter(({ value }) => value.state === 'active')
      .map(({ id, value }) => ({ id, compiled: compileGrant(id, value) }));
    problems.set('grant', [
      ...granted.problems,
      ...grants.flatMap(({ id, compiled }) => (compiled.ok ? [] : [`grant ${id}: ${compiled.error}`])),
    ]);
    const compiled = compilePolicies({
      policies: active,
      tools: toolFacts(),
      grants: grants.flatMap(({ compiled }) => (compiled.ok ? [compiled.value] : [])),
      scopes: scopeIndex([...scopes].map(([id, { includes }]) => ({ id, includes }))),
      previous: previous?.policies ?? null,
    });
    policies = compiled.ok && unreadable.length === 0 ? compiled.value : null;
    policyDigest =
      grants.length === 0 || !compiled.ok ? digestOf(active) : digestOf([digestOf(active), compiled.value.digest]);
    if (!compiled.ok) {
      const refused = compiled.error.map(({ policy, code, message }) => `policy ${policy}: ${code}: ${message}`);
      problems.set('policy', [...unreadable, ...refused]);
    }
  } else if (policies && stale('server', 'tool')) {
    policies = withTools(policies, toolFacts());
  }

  let inspection = previous?.inspection ?? null;
  if (stale('inspection')) {
    const { entries, problems: unreadable } = read('inspection', InspectionPolicy);
    inspection = unreadable.length === 0 ? compileRules(entries[0]?.value ?? null) : null;
  }

  let locks = previous?.locks ?? null;
  if (stale('lock')) {
    const { entries, problems: unreadable } = read('lock', Lock);
    locks =
      unreadable.length === 0
        ? lockIndex(
            entries.map(({ id, value }) => ({ ...value, id })),
            input.at,
          )
        : null;
  }

  let { approvals, denied } = previous ?? NO_APPROVALS;
  if (stale('approval')) {
    const steps = previous && touched?.of('approval');
    ({ approvals, denied } =
      steps && steps.length <= ONE_BY_ONE
        ? withApprovals(previous, steps, input.at, problems)
        : approvalsOf(read('approval', Approval).entries, NO_APPROVALS, input.at));
  }

  return Object.freeze({
    org,
    revision: input.revision,
    rulesRevision:
      previous &&
      changed &&
      [...changed].every(
        (kind) => ABOUT_PEOPLE.has(kind) || (kind === 'group' && groupsRevision === previous.groupsRevision),
      )
        ? previous.rulesRevision
        : input.revision,
    organisation,
    people,
    groups,
    groupsRevision,
    mappings,
    agents,
    voids,
    sources,
    doors,
    provisioned,
    servers,
    locks,
    scopes,
    policies,
    policyDigest,
    inspection,
    approvals,
    denied,
    problems,
  });
}
