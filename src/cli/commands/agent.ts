/** `remit agent …`: the clients that act for people or alone, their review and their end. */
import { type Command, Option } from 'commander';
import { AGENT_KINDS, AGENT_STATES } from '../../inventory/agents.ts';
import { ENVIRONMENTS, RISK_TIERS } from '../../inventory/records.ts';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  etagOf,
  group,
  list,
  moment,
  paged,
  remote,
  wholeNumber,
  type PageOptions,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, more, show, table, time, visible } from '../output.ts';

interface Agent {
  readonly id: string;
  readonly revision: number;
  readonly issuer: string;
  readonly clientId: string;
  readonly title: string;
  readonly kind: string;
  readonly state: string;
  readonly owner?: string;
  readonly purpose?: string;
  readonly environment?: string;
  readonly riskTier?: string;
  readonly revocation?: string;
  readonly reviewBy?: number;
  readonly roles: readonly string[];
  readonly ceiling: Readonly<Record<string, readonly string[]>>;
  readonly secretExpiresAt?: number;
  readonly firstSeenAt?: number;
  readonly findings: readonly string[];
}
interface Shown extends Agent {
  readonly ownerName: string | null;
  readonly lock: string | null;
  readonly tokensVoidBefore: number | null;
  readonly heldCalls: number;
  readonly lacks: readonly { readonly message: string; readonly remedy: string }[];
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}
interface Described {
  readonly title?: string;
  readonly kind?: string;
  readonly owner?: string;
  readonly purpose?: string;
  readonly roles?: string;
  readonly servers?: string;
  readonly risks?: string;
  readonly scopes?: string;
  readonly environments?: string;
  readonly environment?: string;
  readonly riskTier?: string;
  readonly revocation?: string;
  readonly reviewBy?: number;
  readonly replaceBy?: number;
}

export function agentCommands(program: Command): void {
  const agents = group(program, 'agent', 'The clients that act for people or alone', 'remit agent list');

  paged(agents, 'list', 'List agents with what is wrong with them', 'remit agent list --state pending')
    .addOption(new Option('--state <state>', 'only these').choices(AGENT_STATES))
    .addOption(new Option('--kind <kind>', 'only these').choices(AGENT_KINDS))
    .option('--owner <person>', 'those that this person answers for')
    .action(async (options: PageOptions & { state?: string; kind?: string; owner?: string }) => {
      const { state, kind, owner } = options;
      const { body } = await apiOf(options).get<{ agents: Agent[]; next: string | null }>(
        `/agents?${options.query({ state, kind, owner })}`,
      );
      show(options, body, ({ agents: rows, next }) =>
        more(
          table(
            ['ID', 'CLIENT', 'KIND', 'STATE', 'OWNER', 'FINDINGS'],
            rows.map((row) => [row.id, row.clientId, row.kind, row.state, row.owner, row.findings.join(',')]),
            'No agents.',
          ),
          next,
        ),
      );
    });

  remote(agents, 'show <agent>', 'Show an agent', 'remit agent show agent_01k…').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Shown>(`/agents/${seg(id)}`);
      show(options, body, (row) =>
        fields([
          ['id', row.id],
          ['title', row.title],
          ['client', row.clientId],
          ['issuer', row.issuer],
          ['kind', row.kind],
          ['state', row.state],
          ['owner', row.owner === undefined ? null : `${row.ownerName ?? 'nobody who is known'} (${row.owner})`],
          ['purpose', row.purpose],
          ['environment', row.environment],
          ['risk tier', row.riskTier],
          ['revocation', row.revocation],
          ['review by', time(row.reviewBy)],
          ['roles', row.roles.join(', ') || 'none'],
          [
            'ceiling',
            Object.entries(row.ceiling)
              .map(([bound, values]) => `${bound}: ${values.join(', ')}`)
              .join('; ') || 'none',
          ],
          ['first seen', time(row.firstSeenAt)],
          ['secret until', time(row.secretExpiresAt)],
          ['tokens void before', time(row.tokensVoidBefore)],
          ['lock', row.lock],
          ['held calls', row.heldCalls],
          ['findings', row.findings.join(', ') || 'none'],
          ...row.lacks.map(({ message, remedy }) => ['missing', `${message} ${remedy}`] as const),
          ['revision', row.revision],
        ]),
      );
    },
  );

  const describing = (command: Command): Command =>
    command
      .option('--title <text>', 'what people call it')
      .option('--owner <owner>', 'who answers for it: directory id of a person, or group/ID')
      .option('--purpose <text>', 'what it is for')
      .option('--roles <list>', 'roles of an agent that acts alone: developer, operator, member')
      .option('--servers <list>', 'the only servers it may reach, separated by commas; empty: no such bound')
      .option('--risks <list>', 'the only risks it may take: read, write, destructive, execute, regulated')
      .option('--scopes <list>', 'the only scopes it may use')
      .option('--environments <list>', 'the only environments whose servers it may reach')
      .addOption(
        new Option('--environment <name>', 'where it belongs: production and the others never meet').choices(
          ENVIRONMENTS,
        ),
      )
      .addOption(new Option('--risk-tier <tier>', 'how much damage it could do').choices(RISK_TIERS))
      .option('--revocation <text>', 'how its access is taken away elsewhere')
      .option('--review-by <date>', 'when somebody looks at it again, for example 2027-01-31', moment)
      .option('--replace-by <date>', 'when its secret must be replaced, for example 2027-01-31', moment)
      .addOption(new Option('--kind <kind>', 'for people, or alone').choices(AGENT_KINDS));

  describing(
    change(
      agents,
      'add',
      'Register a client before its first call; it waits for a review',
      'remit agent add --issuer https://login.example.com --client-id nightly --title Nightly --kind autonomous --roles developer --reason "TICKET-4"',
    ),
  )
    .requiredOption('--issuer <url>', 'issuer that knows the client')
    .requiredOption('--client-id <id>', 'its client id there')
    .action(async (options: ReasonOptions & Described & { issuer: string; clientId: string }) => {
      const { issuer, clientId } = options;
      const base = { title: clientId, kind: 'delegate', roles: [], ceiling: {} };
      const { body } = await apiOf(options).post<Changed>('/agents', {
        reason: options.reason,
        agent: { ...base, ...described(options, {}), issuer, clientId },
      });
      show(options, body, () => `${visible(clientId)} is ${body.id}, pending, at revision ${body.revision}.`);
    });

  describing(
    change(
      agents,
      'set <agent>',
      'Change what is said of an agent',
      'remit agent set agent_01k… --owner person_01k… --reason "moved"',
    ),
  ).action(async (id: string, options: ReasonOptions & Described) => {
    const api = apiOf(options);
    const { body: before, etag } = await api.get<Shown>(`/agents/${seg(id)}`);
    const change = described(options, before.ceiling);
    if (Object.keys(change).length === 0)
      throw new CliFailure('usage', 'Nothing to change.', 'See remit agent set --help.');
    const { title, kind, owner, purpose, environment, riskTier, revocation, reviewBy } = before;
    const { roles, ceiling, secretExpiresAt } = before;
    const said = { title, kind, owner, purpose, environment, riskTier, revocation, reviewBy };
    const agent = { ...said, roles, ceiling, secretExpiresAt, ...change };
    const { body } = await api.put<Changed>(`/agents/${seg(id)}`, { reason: options.reason, agent }, etag);
    show(options, body, () => `${visible(id)} is changed at revision ${body.revision}.`);
  });

  describing(
    change(
      agents,
      'activate <agent>',
      'Review an agent and let it act',
      'remit agent activate agent_01k… --owner person_01k… --purpose "sorts tickets" --risks read --reason "reviewed"',
    ),
  )
    .option(
      '--revision <number>',
      'the revision that you read; needed for an agent that acts alone, which somebody else must have written',
      wholeNumber,
    )
    .action(async (id: string, options: ReasonOptions & Described & { revision?: number }) => {
      const api = apiOf(options);
      const { body: before } = await api.get<Shown>(`/agents/${seg(id)}`);
      const agent = described(options, before.ceiling);
      const { body } = await api.post<Changed>(
        `/agents/${seg(id)}/activate`,
        { reason: options.reason, ...(Object.keys(agent).length > 0 && { agent }) },
        options.revision === undefined ? 'any' : etagOf(options.revision),
      );
      show(options, body, () => `${visible(id)} is active at revision ${body.revision}.`);
    });

  for (const [verb, state, summary] of [
    ['suspend', 'suspended', 'Stop an agent for now; its tokens are void'],
    ['retire', 'retired', 'End an agent for good; its tokens are void'],
  ] as const) {
    change(agents, `${verb} <agent>`, summary, `remit agent ${verb} agent_01k… --reason "incident 7"`).action(
      async (id: string, options: ReasonOptions) => {
        const { body } = await apiOf(options).post<Changed>(`/agents/${seg(id)}/${verb}`, { reason: options.reason });
        show(options, body, () => `${visible(id)} is ${state} at revision ${body.revision}; its tokens are void.`);
      },
    );
  }
}

/** What the options say, and nothing else. A bound that is given empty goes; the others stay as they are. */
function described(options: Described, ceiling: Agent['ceiling']): Record<string, unknown> {
  const { title, kind, owner, purpose, environment, riskTier, revocation, reviewBy, roles, replaceBy } = options;
  const bounds = (['servers', 'risks', 'scopes', 'environments'] as const).filter(
    (bound) => options[bound] !== undefined,
  );
  const kept = Object.fromEntries(
    Object.entries(ceiling).filter(([bound]) => !(bounds as readonly string[]).includes(bound)),
  );
  const given = bounds
    .map((bound) => [bound, list(options[bound] ?? '')] as const)
    .filter(([, values]) => values.length > 0);
  return {
    ...(title !== undefined && { title }),
    ...(kind !== undefined && { kind }),
    ...(owner !== undefined && { owner }),
    ...(purpose !== undefined && { purpose }),
    ...(environment !== undefined && { environment }),
    ...(riskTier !== undefined && { riskTier }),
    ...(revocation !== undefined && { revocation }),
    ...(reviewBy !== undefined && { reviewBy }),
    ...(roles !== undefined && { roles: list(roles) }),
    ...(replaceBy !== undefined && { secretExpiresAt: replaceBy }),
    ...(bounds.length > 0 && { ceiling: { ...kept, ...Object.fromEntries(given) } }),
  };
}
