/** `remit policy …`: Cedar policies, and why a call would be allowed or not. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  group,
  readNamedFile,
  remote,
  splitTool,
  wholeNumber,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { policyTestCommand } from './policy-test.ts';
import { agreedEffect, effectText, type EffectBody } from '../effect-view.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface PolicyRow {
  readonly id: string;
  readonly description: string;
  readonly text: string;
  readonly state: string;
  readonly replaces: readonly string[];
  readonly revision: number;
}
interface Changed {
  readonly id: string;
  readonly state?: string;
  /** Taken out of force in the same step. */
  readonly replaced?: readonly string[];
  readonly warnings?: readonly string[];
  readonly revision: number;
}
interface Explanation {
  readonly verdict: string;
  readonly reason: string | null;
  readonly rules: readonly string[];
  readonly dependsOnArguments: boolean;
  readonly requiredScopes?: readonly string[];
  readonly errors?: readonly string[];
  readonly nearest: ReadonlyArray<{ readonly change: string; readonly value: string; readonly verdict: string }>;
  readonly revision: number;
  readonly risk: string | null;
  readonly scope: string | null;
  readonly rolesBySource: ReadonlyArray<{
    readonly role: string;
    readonly from: string;
    readonly name?: string;
    readonly claim?: string;
    readonly value?: string;
  }>;
  readonly groups: ReadonlyArray<{ readonly id: string; readonly name: string }>;
  readonly agent: { readonly ceiling: object | null; readonly owner: string | null } | null;
  readonly stepUp?: { readonly maxAgeSeconds: number | null; readonly acrValues: readonly string[] };
}

interface ShadowReport {
  readonly node: string;
  readonly since: number;
  readonly evaluated: number;
  readonly dropped: number;
  readonly problem: string | null;
  readonly changes: ReadonlyArray<{ readonly from: string; readonly to: string; readonly calls: number }>;
  readonly rows: ReadonlyArray<{
    readonly person: string;
    readonly agent: string;
    readonly item: string;
    readonly from: string;
    readonly to: string;
    readonly count: number;
    readonly call: string;
  }>;
}

function shadowText({ node, since, evaluated, dropped, problem, changes, rows }: ShadowReport): string {
  const sums = changes.map(({ from, to, calls }) => `${from} -> ${to}: ${calls}`).join(', ');
  return [
    `${evaluated} calls on node ${visible(node)} since ${time(since)}, ${dropped} not looked at.`,
    problem === null ? `Otherwise decided: ${sums || 'none'}.` : visible(problem),
    table(
      ['CALLS', 'FROM', 'TO', 'PERSON', 'AGENT', 'ITEM', 'NEWEST'],
      rows.map((row) => [row.count, row.from, row.to, row.person, row.agent, row.item, row.call]),
      '',
    ),
  ].join('\n');
}

const warned = ({ warnings = [] }: Changed): string[] => warnings.map((text) => `Warning: ${visible(text)}`);

/** `developer (own)`, `operator (group Operations)`, `operator (claim groups=ops)`. */
const sourced = ({ role, from, name, claim, value }: Explanation['rolesBySource'][number]): string =>
  `${role} (${[from, name, claim === undefined ? undefined : `${claim}=${value ?? ''}`].filter(Boolean).join(' ')})`;

export function policyCommands(program: Command): void {
  const policy = group(program, 'policy', 'Read, write and activate policies; explain decisions', 'remit policy list');

  remote(policy, 'list', 'List policies', 'remit policy list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ policies: PolicyRow[] }>('/policies');
    show(options, body, ({ policies }) =>
      table(
        ['ID', 'STATE', 'REVISION', 'DESCRIPTION'],
        policies.map(({ id, state, revision, description }) => [id, state, revision, description]),
        'No policies: every call is denied.',
      ),
    );
  });

  remote(policy, 'show <policy>', 'Show the text of a policy', 'remit policy show baseline.developer').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<PolicyRow>(`/policies/${seg(id)}`);
      show(
        options,
        body,
        (row) =>
          `${fields([
            ['id', row.id],
            ['state', row.state],
            ['revision', row.revision],
            ['replaces', row.replaces.length === 0 ? null : row.replaces.join(', ')],
            ['description', row.description],
          ])}\n\n${visible(row.text)}`,
      );
    },
  );

  change(
    policy,
    'put <policy>',
    'Store policy text as a draft',
    'remit policy put team.writers -f writers.cedar --description "Writers may write" --reason "TICKET-9"',
  )
    .requiredOption('-f, --file <path>', 'file with one Cedar policy; `-` reads standard input')
    .requiredOption('--description <text>', 'what the policy is for')
    .option('--replaces <policy...>', 'policies in force that leave it when this one is activated', [])
    .action(async (id: string, options: ReasonOptions & { file: string; description: string; replaces: string[] }) => {
      const api = apiOf(options);
      const text = readNamedFile(options.file);
      const path = `/policies/${seg(id)}`;
      const { body: known } = await api.get<{ policies: PolicyRow[] }>('/policies');
      const before = known.policies.find((row) => row.id === id);
      const etag = before === undefined ? null : `"${before.revision}"`;
      const { body } = await api.put<Changed>(
        path,
        { reason: options.reason, policy: { description: options.description, text, replaces: options.replaces } },
        etag,
      );
      show(options, body, () =>
        [
          `${visible(id)} is a draft at revision ${body.revision}.`,
          `Somebody else puts it in force: remit policy activate ${visible(id)}`,
          ...warned(body),
        ].join('\n'),
      );
    });

  remote(
    policy,
    'effect <policy>',
    'Show who would gain or lose what if a draft came into force, or a policy in force left it',
    'remit policy effect team.writers',
  )
    .option('--kind <kind>', 'only these: gained, lost, changed, may_change')
    .option('--offset <number>', 'go on after so many', wholeNumber, 0)
    .option('--limit <number>', 'rows of one answer, at most 1000', wholeNumber, 50)
    .option('-f, --file <path>', 'of the text in this file instead, which nobody stored; `-` reads standard input')
    .option('--replaces <policy...>', 'with --file: policies that would leave force with it', [])
    .action(
      async (
        id: string,
        options: RemoteOptions & {
          kind?: string;
          offset: number;
          limit: number;
          file?: string;
          replaces: string[];
        },
      ) => {
        const { kind, offset, limit, file, replaces } = options;
        const query = new URLSearchParams({ offset: String(offset), limit: String(limit), ...(kind && { kind }) });
        const path = `/policies/${seg(id)}/effect?${query.toString()}`;
        const api = apiOf(options);
        const { body } =
          file === undefined
            ? await api.get<EffectBody>(path)
            : await api.post<EffectBody>(path, { text: readNamedFile(file), replaces });
        show(options, body, effectText);
      },
    );

  change(
    policy,
    'activate <policy>',
    'Put a draft in force; somebody else than its author',
    'remit policy activate team.writers --reason "reviewed"',
  )
    .option('--yes', 'agree to the effect without being asked', false)
    .option('--effect <digest>', 'agree to exactly this effect, as `remit policy effect` shows it')
    .action(async (id: string, options: ReasonOptions & { yes: boolean; effect?: string }) => {
      const api = apiOf(options);
      const path = `/policies/${seg(id)}`;
      const { body: draft, etag } = await api.get<PolicyRow>(path);
      if (!options.json) process.stderr.write(`${visible(draft.text)}\n\n`);
      const effect = await agreedEffect(api, `${path}/effect`, `Put ${visible(id)} in force`, options);
      const { body } = await api.post<Changed>(
        `${path}/activate`,
        { reason: options.reason, effect },
        etag ?? `"${draft.revision}"`,
      );
      show(options, body, () =>
        [
          `${visible(id)} is in force at revision ${body.revision}.`,
          ...(body.replaced ?? []).map((other) => `${visible(other)} is no longer in force.`),
          ...warned(body),
        ].join('\n'),
      );
    });

  change(
    policy,
    'deactivate <policy>',
    'Take a policy out of force',
    'remit policy deactivate team.writers --reason "project ended"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<Changed>(`/policies/${seg(id)}/deactivate`, { reason: options.reason });
    show(options, body, () => `${visible(id)} is no longer in force at revision ${body.revision}.`);
  });

  policyTestCommand(policy);

  remote(
    policy,
    'shadow <policy>',
    'Ask a draft about live calls, show what it would have said, or stop',
    'remit policy shadow team.writers --start --reason "a week of watching"',
  )
    .option('--start', 'from now on', false)
    .option('--stop', 'no longer', false)
    .option('--reset', 'count anew', false)
    .option('--reason <text>', 'with --start or --stop: why; goes into the history and the audit log')
    .action(
      async (
        id: string,
        options: RemoteOptions & { start: boolean; stop: boolean; reset: boolean; reason?: string },
      ) => {
        const api = apiOf(options);
        const path = `/policies/${seg(id)}/shadow`;
        const { start, stop, reset, reason } = options;
        if (Number(start) + Number(stop) + Number(reset) > 1)
          throw new CliFailure('usage', '--start, --stop and --reset are three things.', 'Say one of them.');
        if ((start || stop) && reason === undefined)
          throw new CliFailure('usage', 'A change needs a reason.', 'Say --reason "why".');
        if (start || stop) {
          const { body } = start
            ? await api.post<Changed>(path, { reason })
            : await api.remove<Changed>(path, { reason: reason ?? '' });
          show(options, body, () => `${visible(id)} is a ${body.state ?? ''} at revision ${body.revision}.`);
          return;
        }
        if (reset) await api.post(`${path}/reset`, {});
        const { body } = await api.get<ShadowReport>(`${path}?limit=50`);
        show(options, body, shadowText);
      },
    );

  remote(
    policy,
    'explain <person> <tool>',
    'Would this person be allowed to call this tool, and why',
    'remit policy explain person_01k… files/write_file',
  )
    .option('--agent <client>', 'client id the person would use')
    .option('--scope <scope...>', 'scopes of the token (default: the scope of the tool)')
    .option('--arguments <json>', 'arguments of the call, as a JSON object')
    .option('--signed-in <seconds>', 'how long ago the person signed in (default: now)')
    .option('--amr <method...>', 'methods of the sign-in, such as pwd otp (RFC 8176)')
    .option('--acr <value>', 'authentication context of the sign-in')
    .option('--approved', 'as if an approval of exactly this call existed', false)
    .option('--untrusted', 'as if the trace had received output that strangers may have written', false)
    .option('--private', 'as if the trace had received private data', false)
    .option('--confidential', 'as if it had received confidential data', false)
    .option('--regulated', 'as if it had received regulated data', false)
    .option('--credential', 'as if what it received had held a secret', false)
    .option('--copied', 'as if the arguments held text of another server with such data', false)
    .option('--copied-from <server...>', 'servers whose text they would hold')
    .option('--received-from <server...>', 'servers whose output the trace would have received')
    .action(
      async (
        person: string,
        name: string,
        options: RemoteOptions & {
          agent?: string;
          scope?: string[];
          arguments?: string;
          signedIn?: string;
          amr?: string[];
          acr?: string;
          approved: boolean;
          untrusted: boolean;
          private: boolean;
          confidential: boolean;
          regulated: boolean;
          credential: boolean;
          copied: boolean;
          copiedFrom?: string[];
          receivedFrom?: string[];
        },
      ) => {
        const [server, tool] = splitTool(name);
        const { body } = await apiOf(options).post<Explanation>('/access/explain', {
          person,
          server,
          tool,
          approved: options.approved,
          untrusted: options.untrusted,
          private: options.private,
          confidential: options.confidential,
          regulated: options.regulated,
          secret: options.credential,
          copied: options.copied,
          ...(options.copiedFrom === undefined ? {} : { copiedFrom: options.copiedFrom }),
          ...(options.receivedFrom === undefined ? {} : { receivedFrom: options.receivedFrom }),
          ...(options.agent === undefined ? {} : { agent: options.agent }),
          ...(options.scope === undefined ? {} : { scopes: options.scope }),
          ...(options.arguments === undefined ? {} : { arguments: jsonObject(options.arguments) }),
          signIn: {
            ...(options.signedIn === undefined ? {} : { age: wholeSeconds(options.signedIn) }),
            ...(options.amr === undefined ? {} : { amr: options.amr }),
            ...(options.acr === undefined ? {} : { acr: options.acr }),
          },
        });
        show(options, body, (it) =>
          fields([
            ['verdict', it.verdict],
            ['reason', it.reason],
            ['policies', it.rules.join(', ') || 'none matched'],
            ['needs scope', it.requiredScopes?.join(' ')],
            ['depends on', it.dependsOnArguments ? 'the arguments: say them with --arguments' : undefined],
            [
              'would help',
              it.nearest
                .map(({ change, value, verdict }) => `${change} ${value}`.trim() + ` (then ${verdict})`)
                .join('; ') || '-',
            ],
            ['needs sign-in', it.stepUp && signInWords(it.stepUp)],
            ['roles', it.rolesBySource.map(sourced).join(', ')],
            ['groups', it.groups.map(({ id, name }) => `${name} (${id})`).join(', ')],
            ['ceiling of agent', it.agent?.ceiling && JSON.stringify(it.agent.ceiling)],
            ['owner of agent', it.agent?.owner],
            ['risk', it.risk],
            ['scope of tool', it.scope],
            ['at revision', it.revision],
          ]),
        );
      },
    );
}

function signInWords({ maxAgeSeconds, acrValues }: NonNullable<Explanation['stepUp']>): string {
  const age = maxAgeSeconds === null ? [] : [`at most ${maxAgeSeconds} s ago`];
  const acr = acrValues.length === 0 ? [] : [`with ${acrValues.join(' or ')}`];
  return [...age, ...acr].join(', ');
}

function wholeSeconds(text: string): number {
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new CliFailure('usage', '--signed-in is not a number of seconds.', 'Write it like --signed-in 900.');
}

function jsonObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Told below, together with the other ways to be wrong.
  }
  throw new CliFailure(
    'usage',
    '--arguments is not a JSON object.',
    'Write it like --arguments \'{"path":"notes.txt"}\'.',
  );
}
