/**
 * Whether a grant says something that can be so: people, groups, agents, servers and items that exist, conditions that fit what the reviewers
 * said of the parameters, an end that lies ahead. All problems at once. Whether it is wise is not judged here: lint refuses the sweeping ones,
 * and somebody else agrees to the rest.
 */
import { isJsonObject } from '../lib/json.ts';
import type { Json } from '../lib/json.ts';
import type { ParameterType } from '../lib/canonical-values.ts';
import type { Snapshot, ToolEntry } from '../gateway/snapshot.ts';
import { compileGrant } from '../policy/grant-policies.ts';
import type { Grant, GrantCondition } from '../policy/grants.ts';
import { lintGrant } from '../policy/lint-grant.ts';

export interface GrantFinding {
  readonly field: string;
  readonly message: string;
}

/** An elevation is for a task, not for a job: a week is the longest, ms. */
const LONGEST_ELEVATION_MS = 7 * 86_400_000;

const SWEEPING = ['risk_without_items', 'end_too_late'];

const quoted = (value: string): string => JSON.stringify(value);

export function checkGrant(view: Snapshot, grant: Grant, at: number): GrantFinding[] {
  // AZ-05. What else lint finds is told here with more words.
  // In an emergency two people may open all of a risk class of a server, for hours.
  const sweeping = lintGrant(grant, () => undefined, at).filter(
    ({ code }) => SWEEPING.includes(code) && !(grant.breakGlass && code === 'risk_without_items'),
  );
  const found = [
    ...checkWho(view, grant),
    ...checkWhat(view, grant),
    ...checkTime(grant, at),
    ...sweeping.map(({ field, message }) => ({ field, message })),
  ];
  const compiled = compileGrant('check', inForceAt(grant, at));
  return compiled.ok ? found : [...found, { field: 'what', message: compiled.error }];
}

/** The grant as it would be once somebody agreed now. What is compiled is kept by `what`, so that it is one of its own. */
export const inForceAt = (grant: Grant, at: number): Grant => ({
  ...grant,
  what: { ...grant.what },
  state: 'active',
  decidedAt: grant.decidedAt ?? at,
});

function checkWho(view: Snapshot, { who, through }: Grant): GrantFinding[] {
  const found: GrantFinding[] = [];
  const agents = [...view.agents.values()].filter((agent) => agent !== null);
  if (who.kind === 'person' && view.people.byId(who.id)?.state !== 'active')
    found.push({ field: 'who.id', message: `there is no active person ${quoted(who.id)}` });
  if (who.kind === 'group' && !view.groups.has(who.id))
    found.push({ field: 'who.id', message: `there is no group ${quoted(who.id)}; name it by the id of its record` });
  if (who.kind === 'agent') {
    const agent = agents.find(({ id }) => id === who.id);
    if (!agent || agent.state === 'retired')
      found.push({ field: 'who.id', message: `there is no agent ${quoted(who.id)}; name it by the id of its record` });
    else if (agent.kind !== 'autonomous')
      found.push({
        field: 'who.id',
        message: `agent ${quoted(who.id)} acts for people; grant it to them, \`through\` it`,
      });
    if (through !== undefined)
      found.push({ field: 'through', message: 'an agent that acts alone goes through itself' });
  } else if (
    through !== undefined &&
    !agents.some((agent) => agent.clientId === through && agent.state !== 'retired')
  ) {
    found.push({ field: 'through', message: `there is no agent with the client id ${quoted(through)}` });
  }
  return found;
}

function checkWhat(view: Snapshot, { what, conditions }: Grant): GrantFinding[] {
  const server = view.servers.get(what.server);
  if (!server || server.record.state === 'retired')
    return [{ field: 'what.server', message: `there is no server ${quoted(what.server)} in use` }];
  const found: GrantFinding[] = [];
  const covered: ToolEntry[] = [];
  const risks = what.risks as readonly string[] | undefined;
  for (const [index, key] of (what.items ?? []).entries()) {
    const item = server.tools.get(key);
    const field = `what.items.${index}`;
    if (!item) found.push({ field, message: `${quoted(what.server)} has no item ${quoted(key)}` });
    else if (!item.approved) found.push({ field, message: `${quoted(key)} is not reviewed` });
    else if (risks && !risks.includes(item.approved.risk))
      found.push({
        field,
        message: `${quoted(key)} is ${item.approved.risk}, which is not among the risk classes of the grant`,
      });
    else covered.push(item);
  }
  if (what.items === undefined) {
    for (const item of server.tools.values())
      if (item.approved && (!risks || risks.includes(item.approved.risk))) covered.push(item);
  }
  for (const [index, condition] of conditions.entries()) {
    for (const item of covered) {
      const message = misfit(item, condition);
      if (message !== null) found.push({ field: `conditions.${index}`, message: `${quoted(item.key)}: ${message}` });
    }
  }
  return found;
}

/** By type of a reviewed parameter; `text` and `number` stand for what nobody typed. */
const FITS: Readonly<Record<GrantCondition['is'], ReadonlyArray<ParameterType | 'text' | 'number'>>> = {
  path_under: ['path'],
  host_in: ['url', 'domain'],
  one_of: ['path', 'url', 'domain', 'identifier', 'text'],
  at_most: ['amount', 'number'],
  at_least: ['amount', 'number'],
};

function misfit(item: ToolEntry, { argument, is }: GrantCondition): string | null {
  const reviewed = item.approved?.parameters?.[argument];
  const type = reviewed ?? plainType(item, argument);
  if (type === null) return `has no argument ${quoted(argument)}`;
  if (FITS[is].includes(type)) return null;
  const wanted = FITS[is].filter((one) => one !== 'text' && one !== 'number').join(' or ');
  return reviewed === undefined
    ? `${quoted(argument)} is not reviewed as ${wanted || 'text'}, so ${is} cannot be judged`
    : `${quoted(argument)} is reviewed as ${reviewed}, which does not fit ${is}`;
}

/** What the approved schema says of an argument that no reviewer typed; null: there is no such argument. */
function plainType(item: ToolEntry, pointer: string): 'text' | 'number' | null {
  const { kind, approved } = item;
  if (!approved) return null;
  const names = pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (kind === 'prompt') {
    const declared = approved.definition['arguments'];
    const known = Array.isArray(declared) && declared.some((one) => isJsonObject(one) && one['name'] === names[0]);
    return known && names.length === 1 ? 'text' : null;
  }
  if (kind !== 'tool') return names.length === 1 ? 'text' : null;
  let schema: Json | undefined = approved.definition['inputSchema'];
  for (const name of names) {
    const properties: Json | undefined = isJsonObject(schema) ? schema['properties'] : undefined;
    schema = isJsonObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (schema === undefined) return null;
  }
  const type = isJsonObject(schema) ? schema['type'] : undefined;
  return type === 'integer' || type === 'number' ? 'number' : 'text';
}

function checkTime({ startsAt, expiresAt, lastsMs, state }: Grant, at: number): GrantFinding[] {
  const found: GrantFinding[] = [];
  if (expiresAt !== null && expiresAt <= at) found.push({ field: 'expiresAt', message: 'lies in the past' });
  if (startsAt !== undefined && expiresAt !== null && startsAt >= expiresAt)
    found.push({ field: 'startsAt', message: 'must lie before its end' });
  if (lastsMs === undefined || state !== 'requested') return found;
  if (expiresAt !== null) found.push({ field: 'lastsMs', message: 'says the end already; leave out `expiresAt`' });
  if (startsAt !== undefined) found.push({ field: 'lastsMs', message: 'begins with the yes; leave out `startsAt`' });
  if (lastsMs > LONGEST_ELEVATION_MS)
    found.push({ field: 'lastsMs', message: 'is longer than a week; ask for a grant with an end instead' });
  return found;
}
