/** `remit status`: how one node stands, and which checks are relaxed on it. */
import type { Command } from 'commander';
import { apiOf, remote, type RemoteOptions } from '../command.ts';
import { fields, red, show, time, visible } from '../output.ts';

interface Status {
  readonly version: string;
  readonly node: string;
  readonly organisation: string;
  readonly mcpUrl: string;
  readonly revision: number;
  readonly head: number | null;
  readonly fresh: boolean;
  readonly notReady: readonly string[];
  readonly alarms: readonly string[];
  readonly breakGlass: readonly { readonly person: string; readonly name: string; readonly at: number }[];
  readonly unsafe: readonly string[];
  readonly problems: readonly string[];
  readonly audit: object;
  readonly posture: object;
}

/** Members of a part, each on a line of its own, whatever the part is made of. */
function lines(name: string, value: unknown): Array<readonly [string, string]> {
  if (Array.isArray(value)) return value.flatMap((member) => lines(name, member));
  if (value === null || typeof value !== 'object') return [[name, String(value)]];
  return Object.entries(value).flatMap(([member, inner]) => lines(`${name}, ${member}`, inner));
}

export function statusCommand(program: Command): void {
  remote(program, 'status', 'Show how a gateway stands and which checks are relaxed', 'remit status').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Status>('/status');
      show(options, body, (it) =>
        [
          fields([
            ['node', `${it.node} of ${it.organisation}, version ${it.version}`],
            ['MCP', it.mcpUrl],
            ['ready', it.notReady.length === 0 ? 'yes' : `no: ${it.notReady.join(', ')}`],
            ['revision', `${it.revision} of ${it.head ?? 'unknown'}${it.fresh ? '' : ' (stale)'}`],
            ...lines('audit log', it.audit),
            ...lines('posture', it.posture),
          ]),
          ...it.alarms.map((alarm) => red(`alarm: ${visible(alarm)}`)),
          ...it.breakGlass.map(({ person, name, at }) =>
            red(`break glass: ${visible(name)} (${visible(person)}) came in at ${time(at)}`),
          ),
          ...it.unsafe.map((key) => red(`unsafe: ${visible(key)} relaxes a check`)),
          ...it.problems.map((problem) => red(`left out: ${visible(problem)}`)),
        ].join('\n'),
      );
    },
  );
}
