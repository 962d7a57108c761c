/**
 * What people are told of a change: read from the history of changes, so that nothing that was committed goes untold and nothing else is.
 * Pure but for the history of a record, which says what was there before. ATTACKER-CONTROLLED: names that servers chose; hidden characters
 * are shown, and no argument of a call is ever in a notice.
 */
import { Approval } from '../../approvals/records.ts';
import { ToolRecord } from '../../integrity/records.ts';
import { Credential } from '../../inventory/credentials.ts';
import { INCIDENTS, IncidentRecord } from '../../inventory/incidents.ts';
import { Lock, Server } from '../../inventory/records.ts';
import { showHidden } from '../../lib/hidden-text.ts';
import { Grant } from '../../policy/grants.ts';
import type { Snapshot } from '../../gateway/snapshot.ts';
import type { Change, StateStore } from '../../store/state.ts';
import { deciders, peopleBehind, withRole } from './concerned.ts';
import { Attestation, Campaign } from '../reviews/records.ts';
import type { NoticeType } from './records.ts';

export interface Notice {
  /** The same for the same change, for ever: who is told twice knows it. */
  readonly id: string;
  readonly type: NoticeType;
  /** ms since the epoch. */
  readonly at: number;
  /** One line. */
  readonly title: string;
  /** Flat facts: ids and words of ours. */
  readonly data: Readonly<Record<string, string | number | null>>;
  /** Where to look, below the address of the admin listener. */
  readonly path: string;
  /** Directory ids. */
  readonly concerns: readonly string[];
}

interface Facts {
  readonly org: string;
  readonly state: Pick<StateStore, 'history'>;
  readonly snapshot: () => Snapshot;
}

type Said = Omit<Notice, 'id' | 'at'>;

/** Everything to tell of one commit, in its order. `changes` are of one revision. */
export async function noticesOf(changes: readonly Change[], facts: Facts): Promise<readonly Notice[]> {
  const told: Notice[] = [];
  const tools: Change[] = [];
  for (const change of changes) {
    if (change.org !== facts.org) continue;
    if (change.kind === 'tool') tools.push(change);
    const said =
      change.kind === 'campaign' ? await ofCampaign(change, changes, facts) : await OF[change.kind]?.(change, facts);
    if (said) told.push({ id: `ntc_${change.revision}_${change.ordinal}`, at: change.at, ...said });
  }
  const [first] = tools;
  if (first)
    for (const said of await ofTools(tools, facts))
      told.push({
        id: `ntc_${first.revision}_tools_${String(said.data['server'])}_${said.type}`,
        at: first.at,
        ...said,
      });
  return told;
}

async function before({ kind, id, org, revision }: Change, { state }: Facts): Promise<Change | undefined> {
  return (await state.history(kind, org, id)).findLast((change) => change.revision < revision);
}

const OF: Readonly<Record<string, (change: Change, facts: Facts) => Promise<Said | null>>> = {
  approval: async (change, facts) => {
    const now = Approval.safeParse(change.body).data;
    if (!now) return null;
    const was = Approval.safeParse((await before(change, facts))?.body).data;
    const data = {
      approval: change.id,
      server: now.server,
      tool: showHidden(now.tool),
      requester: now.person,
      state: now.state,
    };
    if (now.state === 'pending' && !was)
      return {
        type: 'approval.waiting',
        title: `A call of ${showHidden(now.server)}/${showHidden(now.tool)} waits for a decision`,
        data: { ...data, expiresAt: now.expiresAt },
        path: `/approvals/${change.id}`,
        concerns: deciders(facts.snapshot(), now),
      };
    if (was?.state !== 'pending' || !DECIDED.has(now.state)) return null;
    return {
      type: 'approval.decided',
      title: `A held call of ${showHidden(now.server)}/${showHidden(now.tool)} is ${now.state}`,
      data,
      path: `/requests/${change.id}`,
      concerns: peopleBehind(facts.snapshot(), now.person),
    };
  },

  grant: async (change, facts) => {
    const now = Grant.safeParse(change.body).data;
    if (!now) return null;
    const was = Grant.safeParse((await before(change, facts))?.body).data;
    if (was?.state === now.state) return null;
    const data = {
      grant: change.id,
      server: now.what.server,
      for: `${now.who.kind}/${now.who.id}`,
      state: now.state,
      requester: now.requestedBy,
    };
    const server = facts.snapshot().servers.get(now.what.server)?.record;
    const behind = server ? peopleBehind(facts.snapshot(), server.owner) : [];
    const overseers = now.breakGlass
      ? [...new Set([...withRole(facts.snapshot(), 'security_reviewer'), ...behind])]
      : [];
    if (now.state === 'requested')
      return {
        type: 'access.requested',
        title: `${now.breakGlass ? 'Emergency access' : 'Access'} to ${showHidden(now.what.server)} is asked for`,
        data,
        path: `/grants/${change.id}`,
        concerns: now.breakGlass ? overseers : behind,
      };
    if (now.breakGlass && now.state === 'active')
      return {
        type: 'break_glass.opened',
        title: `Emergency access to ${showHidden(now.what.server)} is open`,
        data: { ...data, confirmedBy: now.decidedBy, expiresAt: now.expiresAt },
        path: `/grants/${change.id}`,
        concerns: overseers,
      };
    const beneficiary =
      now.who.kind === 'group' ? `group/${now.who.id}` : now.who.kind === 'agent' ? `agent/${now.who.id}` : now.who.id;
    return {
      type: 'access.decided',
      title: `Access to ${showHidden(now.what.server)} is ${now.state}`,
      data,
      path: `/grants/${change.id}`,
      concerns: [...new Set([now.requestedBy, ...peopleBehind(facts.snapshot(), beneficiary)])],
    };
  },

  server: async (change, facts) => {
    const now = Server.safeParse(change.body).data;
    if (now?.state !== 'suspended') return null;
    const was = Server.safeParse((await before(change, facts))?.body).data;
    if (was?.state === 'suspended') return null;
    return {
      type: 'server.suspended',
      title: `The server ${showHidden(change.id)} is suspended`,
      data: { server: change.id, by: change.actor, reason: showHidden(change.reason) },
      path: `/servers/${change.id}`,
      concerns: peopleBehind(facts.snapshot(), now.owner),
    };
  },

  credential: async (change, facts) => {
    const now = Credential.safeParse(change.body).data;
    if (now?.state !== 'suspended') return null;
    const was = Credential.safeParse((await before(change, facts))?.body).data;
    if (was?.state === 'suspended') return null;
    return {
      type: 'credential.suspended',
      title: `The credential ${showHidden(change.id)} is suspended`,
      data: { credential: change.id, by: change.actor, reason: showHidden(change.reason) },
      path: `/credentials/${change.id}`,
      concerns: peopleBehind(facts.snapshot(), now.owner),
    };
  },

  incident: async (change, facts) => {
    const now = IncidentRecord.safeParse(change.body).data;
    if (!now || now.closed) return null;
    const was = IncidentRecord.safeParse((await before(change, facts))?.body).data;
    if (was && !was.closed) return null;
    const { what, subject, openedAt } = now;
    const owner = now.facts['owner'];
    return {
      type: 'incident.opened',
      title: `${now.facts['why'] === 'known_vulnerable' ? VULNERABLE : (INCIDENT_WORDS[what] ?? what)}: ${showHidden(subject)}`,
      data: { incident: change.id, what, subject: showHidden(subject), severity: INCIDENTS[what], openedAt },
      path: `/incidents/${change.id}`,
      concerns: [
        ...new Set([
          ...withRole(facts.snapshot(), 'security_reviewer'),
          ...(typeof owner === 'string' ? peopleBehind(facts.snapshot(), owner) : []),
        ]),
      ],
    };
  },

  lock: async (change, facts) => {
    const now = Lock.safeParse(change.body).data;
    if (!now || (await before(change, facts))) return null;
    const { kind, value } = now.subject;
    const owner = kind === 'server' ? facts.snapshot().servers.get(value)?.record.owner : undefined;
    return {
      type: 'lock.added',
      title: `A lock fell on the ${kind} ${showHidden(value)}`,
      data: {
        lock: change.id,
        kind,
        value: showHidden(value),
        by: now.by,
        reason: showHidden(now.reason),
        until: now.until,
      },
      path: '/locks',
      concerns: owner === undefined ? [] : peopleBehind(facts.snapshot(), owner),
    };
  },
};

const VULNERABLE = 'A server runs a version that is known to be vulnerable';
const INCIDENT_WORDS: Readonly<Partial<Record<IncidentRecord['what'], string>>> = {
  honeytoken: 'A planted secret was seen',
  own_secret: 'A secret that Remit holds was seen where it does not belong',
  artifact: 'What a server runs is not what was reviewed',
};

const DECIDED: ReadonlySet<string> = new Set(['approved', 'denied', 'expired', 'cancelled']);

/** A campaign comes with its items, in one commit; each names its reviewer. */
async function ofCampaign(change: Change, changes: readonly Change[], facts: Facts): Promise<Said | null> {
  const now = Campaign.safeParse(change.body).data;
  if (!now || (await before(change, facts))) return null;
  const items = changes.flatMap(({ kind, body }) =>
    kind === 'attestation' ? (Attestation.safeParse(body).data ?? []) : [],
  );
  const reviewers = new Set(items.map(({ reviewer }) => reviewer));
  return {
    type: 'review.opened',
    title: `The access review ${showHidden(now.title)} waits for its reviewers`,
    data: { review: change.id, grants: items.length, dueAt: now.dueAt },
    path: `/reviews/${change.id}`,
    concerns: [...new Set([...reviewers].flatMap((reviewer) => peopleBehind(facts.snapshot(), reviewer)))],
  };
}

/** One notice for a server and what became of its items, however many they are. */
async function ofTools(changes: readonly Change[], facts: Facts): Promise<readonly Said[]> {
  const said: Said[] = [];
  for (const [server, some] of Map.groupBy(changes, ({ id }) => id.slice(0, id.indexOf('/')))) {
    const record = facts.snapshot().servers.get(server);
    if (!record || record.record.state !== 'enabled') continue;
    const changed: string[] = [];
    const appeared: string[] = [];
    for (const change of some) {
      const now = ToolRecord.safeParse(change.body).data;
      if (!now?.observed) continue;
      if (now.approved && now.observed.digest !== now.approved.digest) {
        const was = ToolRecord.safeParse((await before(change, facts))?.body).data;
        if (was?.observed?.digest !== now.observed.digest) changed.push(now.name);
      } else if (!now.approved && !now.proposal && !(await before(change, facts))) appeared.push(now.name);
    }
    const tell = (type: 'tool.changed' | 'tool.appeared', names: readonly string[], what: string): void => {
      if (names.length === 0) return;
      said.push({
        type,
        title: `${names.length === 1 ? showHidden(names[0]!) : `${names.length} items`} of ${server} ${what}`,
        data: { server, items: names.length, first: showHidden(names[0]!) },
        path: `/servers/${server}/tools`,
        concerns: peopleBehind(facts.snapshot(), record.record.owner),
      });
    };
    tell('tool.changed', changed, 'changed and cannot be used until somebody reviews it');
    // Of a server that nobody has reviewed anything of, everything is new.
    if ([...record.tools.values()].some(({ approved }) => approved))
      tell('tool.appeared', appeared, 'appeared and waits for a review');
  }
  return said;
}
