/**
 * The life of every non-human identity (server, agent, credential) as one table: from which state to which, what must be said of it before
 * it works (NH-01), and whether letting it work takes somebody else than whoever wrote it (AZ-11). Pure; whether an owner is there is asked
 * of the caller, because people are no business of the inventory. Not here: who has the role for a step (admin/routes.ts).
 */
import { AGENT_STATES } from './agents.ts';
import { SERVER_STATES } from './records.ts';

export const LIFE_KINDS = ['server', 'agent', 'credential'] as const;
export type LifeKind = (typeof LIFE_KINDS)[number];

interface Life {
  /** Where a new one begins. */
  readonly begins: readonly string[];
  /** The one state in which it is of use. */
  readonly works: string;
  /** From a state to those that may follow. A final one has none: the id stays taken, so that nothing takes its place unseen. */
  readonly steps: Readonly<Record<string, readonly string[]>>;
}

const REVIEWED = {
  begins: ['draft', 'in_review'],
  works: 'enabled',
  steps: {
    draft: ['in_review', 'retired'],
    in_review: ['draft', 'enabled', 'retired'],
    enabled: ['in_review', 'suspended', 'retired'],
    suspended: ['in_review', 'enabled', 'retired'],
    retired: [],
  } satisfies Record<(typeof SERVER_STATES)[number], readonly (typeof SERVER_STATES)[number][]>,
} as const satisfies Life;

export const LIFE: Readonly<Record<LifeKind, Life>> = {
  server: REVIEWED,
  credential: REVIEWED,
  agent: {
    begins: ['pending'],
    works: 'active',
    steps: {
      pending: ['active', 'retired'],
      active: ['suspended', 'retired'],
      suspended: ['active', 'retired'],
      retired: [],
    } satisfies Record<(typeof AGENT_STATES)[number], readonly (typeof AGENT_STATES)[number][]>,
  },
};

export const worksIn = (kind: LifeKind, state: string): boolean => LIFE[kind].works === state;
export const stepsFrom = (kind: LifeKind, state: string): readonly string[] => LIFE[kind].steps[state] ?? [];

/** Null when `to` may follow `from`, else why not. Staying is always allowed. `from` is null for a new one. */
export function checkTransition(kind: LifeKind, from: string | null, to: string): string | null {
  const allowed = from === null ? LIFE[kind].begins : stepsFrom(kind, from);
  if (from === to || allowed.includes(to)) return null;
  const next = allowed.length > 0 ? `it can become ${allowed.join(' or ')}` : 'that state is final';
  const was = from ?? 'new';
  return `${/^[aei]/.test(was) ? 'an' : 'a'} ${was} ${kind} cannot become ${to}; ${next}`;
}

/** What every identity may say of itself; records of all three kinds fit. Times are ms since the epoch. */
export interface Identity {
  /** Of an agent: `delegate` or `autonomous`. */
  readonly kind?: string;
  readonly owner?: string;
  readonly purpose?: string;
  readonly environment?: string;
  readonly dataClasses?: readonly string[];
  readonly riskTier?: string;
  readonly revocation?: string;
  readonly reviewBy?: number;
  readonly roles?: readonly string[];
  readonly source?: { readonly vendor?: string; readonly version?: string; readonly digest?: string } | object;
  readonly upstream?: { readonly transport: string };
}

export interface LifeFacts {
  /** ms since the epoch. */
  readonly now: number;
  /** Whether anybody of whom `owner` names is active. */
  ownerStands(owner: string): boolean;
}

export interface Missing {
  /** Dotted, from the record down. */
  readonly field: string;
  readonly message: string;
  readonly remedy: string;
}

/**
 * Everything that keeps a record from being in the state `to`, all at once. Only the working state asks for anything.
 * An agent that acts for people brings no right of its own, so an owner and a purpose are enough of it.
 */
export function missingFor(kind: LifeKind, to: string, record: Identity, facts: LifeFacts): readonly Missing[] {
  if (!worksIn(kind, to)) return [];
  return NEEDS.filter(({ of }) => of(kind, record)).flatMap(({ field, lacks, remedy }) => {
    const message = lacks(record, facts);
    return message === null ? [] : [{ field, message, remedy }];
  });
}

/**
 * Whether letting this one work takes somebody else than whoever wrote it. An agent that acts for people can only do less than each of them,
 * so one reviewer is enough for it.
 */
export const takesTwo = (kind: LifeKind, record: Identity): boolean => kind !== 'agent' || record.kind === 'autonomous';

interface Need {
  readonly field: string;
  of(kind: LifeKind, record: Identity): boolean;
  /** Null: it is there. */
  lacks(record: Identity, facts: LifeFacts): string | null;
  readonly remedy: string;
}

const every = (): boolean => true;
const isDelegate = (kind: LifeKind, record: Identity): boolean => kind === 'agent' && record.kind !== 'autonomous';
/** With rights of its own. */
const onItsOwn = (kind: LifeKind, record: Identity): boolean => !isDelegate(kind, record);
const server = (kind: LifeKind): boolean => kind === 'server';
const blank = (text: string | undefined): boolean => text === undefined || text.trim() === '';
const unless = (there: boolean, message: string): string | null => (there ? null : message);

const NEEDS: readonly Need[] = [
  {
    field: 'owner',
    of: every,
    lacks: ({ owner }, facts) => {
      if (owner === undefined || blank(owner)) return 'Nobody answers for it.';
      if (facts.ownerStands(owner)) return null;
      return owner.startsWith('group/')
        ? `Its owner ${JSON.stringify(owner)} is no group with an active member.`
        : `Its owner ${JSON.stringify(owner)} is not an active person of the directory.`;
    },
    remedy:
      'Set `owner` to the id of an active person, or to group/ID of a group with an active member; `remit person list` shows them.',
  },
  {
    field: 'purpose',
    of: every,
    lacks: ({ purpose }) => unless(!blank(purpose), 'Nobody has said what it is for.'),
    remedy: 'Say its `purpose` in a sentence.',
  },
  {
    field: 'environment',
    of: onItsOwn,
    lacks: ({ environment }) => unless(environment !== undefined, 'Nobody has said which environment it belongs to.'),
    remedy: 'Set `environment` to evaluation, development, staging or production.',
  },
  {
    field: 'dataClasses',
    of: server,
    lacks: ({ dataClasses = [] }) => unless(dataClasses.length > 0, 'Nobody has said which data it touches.'),
    remedy: 'Set `dataClasses` to some of public, internal, confidential, regulated.',
  },
  {
    field: 'riskTier',
    of: onItsOwn,
    lacks: ({ riskTier }) => unless(riskTier !== undefined, 'Nobody has said how much damage it could do.'),
    remedy: 'Set `riskTier` to low, medium, high or critical.',
  },
  {
    field: 'source',
    of: server,
    lacks: ({ source }) => unless(source !== undefined, 'Nobody has said who made it and which version it is.'),
    remedy: 'Set `source` to its vendor and one exact version.',
  },
  {
    field: 'source.digest',
    of: (kind, { source, upstream }) => server(kind) && source !== undefined && upstream?.transport === 'stdio',
    lacks: ({ source }) =>
      unless(
        source !== undefined && 'digest' in source && source.digest !== undefined,
        'It runs here, and nothing says what exactly.',
      ),
    remedy: 'Set `source.digest` to sha256: and the digest of the files of its package.',
  },
  {
    field: 'revocation',
    of: onItsOwn,
    lacks: ({ revocation }) => unless(!blank(revocation), 'Nobody has said how its access is taken away elsewhere.'),
    remedy: 'Say in `revocation` where to go or whom to call.',
  },
  {
    field: 'reviewBy',
    of: onItsOwn,
    lacks: ({ reviewBy }, { now }) => {
      if (reviewBy === undefined) return 'Nobody has said when somebody looks at it again.';
      return unless(reviewBy > now, 'The day when somebody should have looked at it again is over.');
    },
    remedy: 'Set `reviewBy` to a moment in the future, in ms since 1970.',
  },
  {
    field: 'roles',
    of: (kind, record) => kind === 'agent' && !isDelegate(kind, record),
    lacks: ({ roles = [] }) => unless(roles.length > 0, 'It acts alone and has no role, so it could do nothing.'),
    remedy: 'Set `roles` to developer or operator.',
  },
  {
    field: 'roles',
    of: isDelegate,
    lacks: ({ roles = [] }) =>
      unless(
        roles.length === 0,
        'It acts for people and has the rights of each; roles of its own are for agents that act alone.',
      ),
    remedy: 'Leave `roles` empty.',
  },
];
