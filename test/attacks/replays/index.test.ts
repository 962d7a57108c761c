/**
 * Where each published attack of CONTROLS 2.14 is replayed. A test that is named here stands in that file under that title, so none goes
 * missing unnoticed; what a gateway cannot show, or what is not built, is said in `open`.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

interface Case {
  readonly attack: string;
  /** File under test/, and how the title of a test in it begins; `twin` where the attack lands. */
  readonly stopped: ReadonlyArray<readonly [file: string, title: string]>;
  readonly twin: ReadonlyArray<readonly [file: string, title: string]>;
  readonly open?: string;
}

const FLOWS = 'attacks/replays/toxic-flows.test.ts';
const ARGUMENTS = 'attacks/replays/arguments.test.ts';
const COMMANDS = 'attacks/registered-commands.test.ts';

const CASES: readonly Case[] = [
  {
    attack: 'WhatsApp (tool poisoning)',
    stopped: [
      [FLOWS, 'AZ-10: $name: nothing leaves without a yes'],
      [FLOWS, 'WhatsApp (Invariant, April 2025)'],
      [FLOWS, 'TD-01: WhatsApp: the description that changes at the second load'],
      ['attacks/tool-review.test.ts', 'TD-05: is approved by nobody, not by two, and so never called'],
    ],
    twin: [
      [FLOWS, 'AZ-10: twin: $name: without the policy it is outside'],
      ['attacks/definitions.test.ts', 'TD-02 twin: without the second look'],
    ],
  },
  {
    attack: 'GitHub MCP toxic flow',
    stopped: [[FLOWS, 'GitHub (May 2025)']],
    twin: [[FLOWS, 'AZ-10: twin: $name']],
  },
  {
    attack: 'Supabase ticket injection',
    stopped: [[FLOWS, 'Supabase (June 2025)']],
    twin: [[FLOWS, 'AZ-10: twin: $name']],
    open: 'the blast radius of one service role (BR-02)',
  },
  {
    attack: 'Asana cross-tenant mix',
    stopped: [
      ['gateway/session-stream.test.ts', 'AZ-09: nobody resumes a stream of another session'],
      ['attacks/twins-5.test.ts', 'AZ-13: a cache that two people share'],
    ],
    twin: [['attacks/twins-5.test.ts', 'AZ-13 twin: ']],
  },
  {
    attack: 'CVE-2025-49596 Inspector',
    stopped: [[COMMANDS, 'EX-02: a page in the browser of somebody who may (CVE-2025-49596)']],
    twin: [[COMMANDS, 'EX-02: twin: the same request without the marks of a page is taken']],
  },
  {
    attack: 'CVE-2025-6514 mcp-remote',
    stopped: [
      ['attacks/replays/mcp-remote.test.ts', 'AN-10, AN-15: %s sends nobody anywhere and runs nothing'],
      ['inventory/advisories.test.ts', 'NH-11: mcp-remote %s and CVE-2025-6514'],
    ],
    twin: [['attacks/replays/mcp-remote.test.ts', 'AN-10: twin: a client that opens what it is told through a shell']],
  },
  {
    attack: 'CVE-2025-54136 MCPoison',
    stopped: [[COMMANDS, 'EX-02: it leaves service, what was agreed to ends, and nobody alone brings it back']],
    twin: [[COMMANDS, 'EX-02: twin: a record that is exchanged behind the review runs the other command']],
  },
  {
    attack: 'CVE-2025-53109/53110 filesystem server, CVE-2025-68143/4/5 git server',
    stopped: [
      [ARGUMENTS, 'filesystem server (CVE-2025-53109, CVE-2025-53110)'],
      [ARGUMENTS, 'git server (CVE-2025-68144)'],
      ['attacks/hostile-servers.test.ts', 'EX-01: writing outside: nothing is written'],
    ],
    twin: [[ARGUMENTS, 'CI-01, AZ-03: twin: where nobody said what the argument is']],
    open: 'a symbolic link inside the folder is the sandbox’s to stop, not the argument’s (EX-01)',
  },
  {
    attack: 'postmark-mcp 1.0.16',
    stopped: [
      ['attacks/server-identity.test.ts', 'TD-08: a file that is not what was reviewed is not run'],
      ['attacks/egress.test.ts', 'EX-04: gets nothing out, by TCP'],
    ],
    twin: [['attacks/server-identity.test.ts', 'TD-08: twin: without the comparison the new version runs']],
    open: 'a blind copy inside an allowed mail call of a version that people agreed to',
  },
  {
    attack: 'Smithery',
    stopped: [['attacks/credentials.test.ts', 'AN-12: the admin API shows the reference and never the value']],
    twin: [['attacks/credentials.test.ts', 'AN-12 twin: ']],
    open: 'how much one credential opens is not scored yet (NH-08, BR)',
  },
  {
    attack: 'CVE-2025-6515 oatpp: a session that somebody else takes',
    stopped: [['attacks/sessions.test.ts', 'is not found with another id of the same length']],
    twin: [['attacks/sessions.test.ts', 'twin: a gateway that takes any session it once opened']],
  },
  {
    attack: 'CVE-2026-27896: keys that two readers read differently',
    stopped: [['attacks/messages.test.ts', 'PH-02: what two servers read differently']],
    twin: [['attacks/messages.test.ts', 'PH-02 twin: a relay that parses loosely']],
  },
  {
    attack: 'OX, stdio configurations (2026-04)',
    stopped: [[COMMANDS, 'EX-02: what a shell would obey arrives as it is']],
    twin: [[COMMANDS, 'EX-02: twin: ']],
  },
  {
    attack: 'CVE-2026-90898 Bifrost',
    stopped: [[COMMANDS, 'EX-02: %s %s without a token, and on a fresh installation, is refused']],
    twin: [[COMMANDS, 'EX-02: twin: ']],
  },
  {
    attack: 'CVE-2026-26118 Azure MCP server',
    stopped: [
      [ARGUMENTS, 'Azure MCP server (CVE-2026-26118)'],
      ['attacks/egress.test.ts', 'EX-04: a host that a rule names is not reached when it leads to a network'],
    ],
    twin: [[ARGUMENTS, 'CI-01, AZ-03: twin: ']],
  },
  {
    attack: 'the step lists of the specification: confused deputy, passthrough, SSRF, state, mix-up, localhost, scopes',
    stopped: [
      ['upstream/oauth-attacks.test.ts', 'AN-10: a state is taken once'],
      ['upstream/dial.test.ts', 'AN-15: URLs that a peer names'],
      ['attacks/discovery-and-scopes.test.ts', 'AN-06: a missing scope'],
    ],
    twin: [['upstream/oauth-attacks.test.ts', 'AN-10: a client without the comparison sends the code']],
  },
  {
    attack: 'line jumping, squatting, consent fatigue',
    stopped: [
      ['attacks/definitions.test.ts', 'TD-03: appears nowhere and answers like one that does not exist'],
      ['attacks/twins-5.test.ts', 'TD-04: one name, two servers'],
      ['attacks/consent.test.ts', 'AP-06: two hundred requests put at most ten before people'],
    ],
    twin: [
      ['attacks/definitions.test.ts', 'TD-03 twin: a relay that passes the list on'],
      ['attacks/twins-5.test.ts', 'TD-04 twin: '],
      ['attacks/consent.test.ts', 'AP-06 twin: '],
    ],
  },
  {
    attack: 'Slack: unfurled links and pictures',
    stopped: [
      [FLOWS, 'Slack: a message whose picture or unfurled link'],
      [
        'attacks/inspection.test.ts',
        'CI-06: no control, invisible or direction character reaches the client, and no picture loads',
      ],
    ],
    twin: [
      [FLOWS, 'AZ-10: twin: $name'],
      ['attacks/inspection.test.ts', 'CI-06, CI-02 twin: '],
    ],
  },
];

describe('published attacks', () => {
  test('every row of the table has a replay, and a twin in which it lands', () => {
    expect(CASES).toHaveLength(18);
    for (const { attack, stopped, twin } of CASES) {
      expect(stopped.length, attack).toBeGreaterThan(0);
      expect(twin.length, attack).toBeGreaterThan(0);
    }
  });
  test.each(CASES)('$attack: the tests that are named stand where they are said to', ({ stopped, twin }) => {
    for (const [file, title] of [...stopped, ...twin]) {
      const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').replaceAll("\\'", "'");
      expect(text.includes(`'${title}`) || text.includes(`\`${title}`), `${file}: ${title}`).toBe(true);
    }
  });
});
