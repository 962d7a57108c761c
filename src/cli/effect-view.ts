/** How a change of access is shown before somebody agrees to it, and how they are asked: on a terminal, or by an option that says so. */
import { createInterface } from 'node:readline/promises';
import type { Api } from './api.ts';
import { CliFailure } from './failure.ts';
import { table } from './output.ts';

interface Row {
  readonly kind: string;
  readonly from: string;
  readonly to: string;
  readonly scopeHeld: boolean;
  readonly approved: boolean;
  readonly untrusted?: true;
  readonly private?: true;
  readonly confidential?: true;
  readonly regulated?: true;
  readonly secret?: true;
  readonly copied?: true;
}
export interface EffectBody {
  readonly digest: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly groups: ReadonlyArray<
    Row & { readonly triples: number; readonly people: number; readonly agents: number; readonly items: number }
  >;
  readonly triples: ReadonlyArray<
    Row & {
      readonly person: string;
      readonly personName: string | null;
      readonly agent: string;
      readonly agentTitle: string | null;
      readonly item: string;
    }
  >;
  readonly next: number | null;
  readonly assumes: readonly string[];
}

const number = new Intl.NumberFormat('en-US');
const named = (name: string | null, id: string): string => (name === null || name === id ? id : `${name} (${id})`);
const situation = ({ scopeHeld, approved, ...after }: Row): string =>
  [
    ...(scopeHeld ? [] : ['without the scope']),
    ...(approved ? ['approved'] : []),
    ...(after.untrusted ? ['after untrusted output'] : []),
    ...(after.private ? ['after private data'] : []),
    ...(after.confidential ? ['after confidential data'] : []),
    ...(after.regulated ? ['after regulated data'] : []),
    ...(after.secret ? ['after a secret'] : []),
    ...(after.copied ? ['with copied text'] : []),
  ].join(', ');

export function effectText(effect: EffectBody): string {
  if (Object.values(effect.counts).every((count) => count === 0))
    return `Nobody gains or loses anything.\nEffect: ${effect.digest}`;
  return [
    table(
      ['CHANGE', 'FROM', 'TO', 'PEOPLE', 'AGENTS', 'ITEMS', 'IN ALL', ''],
      effect.groups.map((row) => [
        row.kind.replace('_', ' '),
        row.from,
        row.to,
        ...[row.people, row.agents, row.items, row.triples].map((count) => number.format(count)),
        situation(row),
      ]),
      '',
    ),
    '',
    table(
      ['CHANGE', 'PERSON', 'WITH AGENT', 'ITEM', 'FROM', 'TO'],
      effect.triples.map((row) => [
        row.kind.replace('_', ' '),
        named(row.personName, row.person),
        named(row.agentTitle, row.agent),
        row.item,
        row.from,
        row.to,
      ]),
      '',
    ),
    ...(effect.next === null ? [] : [`… and more: --offset ${effect.next}`]),
    '',
    ...effect.assumes,
    `Effect: ${effect.digest}`,
  ].join('\n');
}

export interface AgreeOptions {
  readonly json: boolean;
  readonly yes: boolean;
  readonly effect?: string;
}

/** Shows what would happen and asks. The digest that comes back is what they agreed to; the gateway refuses any other. */
export async function agreedEffect(api: Api, path: string, what: string, options: AgreeOptions): Promise<string> {
  if (options.effect !== undefined) return options.effect;
  const { body } = await api.get<EffectBody>(`${path}?limit=20`);
  if (!options.json) process.stderr.write(`${effectText(body)}\n\n`);
  if (options.yes) return body.digest;
  if (!process.stdin.isTTY || !process.stderr.isTTY || options.json)
    throw new CliFailure(
      'usage',
      `Nobody is here to be asked about this effect (${body.digest}).`,
      'Read it, then say --effect with its digest, or --yes to agree to whatever it is at that moment.',
    );
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const said = (await lines.question(`${what} with this effect? [y/N] `)).trim().toLowerCase();
    if (said !== 'y' && said !== 'yes') throw new CliFailure('failed', 'Nothing was changed.');
    return body.digest;
  } finally {
    lines.close();
  }
}
