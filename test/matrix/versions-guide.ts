/**
 * The tables of docs/guides/versions.md, made from what tests assert: the pairs from the published matrix (`pairs.test.ts` holds it to
 * what came out), the features from the rows below, each with the tests that prove it, the conformance result from the last full run.
 * `node test/matrix/versions-guide.ts` writes them into the guide; `versions-guide.test.ts` compares. Long because it is one table.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cell, TRIALS, type Trial } from './probe.ts';
import { REVISIONS, type Revision } from './revisions.ts';

const ROOT = join(import.meta.dirname, '../..');
export const GUIDE = join(ROOT, 'docs/guides/versions.md');

type Wire = 'http' | 'sse' | 'stdio';
type Pair = Cell & {
  readonly client: Revision;
  readonly facing: Wire;
  readonly server: Revision;
  readonly behind: Wire;
};

const json = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
const pairs = (): readonly Pair[] => json('docs/guides/versions-matrix.json') as readonly Pair[];

const table = (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** What is tried with every pair, in the words of the guide. */
const TRIED: Readonly<Record<Trial, string>> = {
  list: 'the four lists',
  text: 'a call that answers text',
  image: 'images',
  audio: 'audio',
  link: 'resource links',
  structured: 'structured results',
  array: 'results that are arrays',
  error: 'a failure of a tool',
  read: 'reading a resource',
  template: 'reading by a template',
  prompt: 'a prompt with arguments',
  complete: 'completion',
  progress: 'progress',
  log: 'log lines',
  form: 'forms',
  model: 'sampling',
  roots: 'roots',
  cancel: 'cancelling',
};

/** What a client gets instead, by what it gets; empty when it gets everything both know. */
function instead(pair: Pair, but: (trial: Trial) => boolean = () => true): string {
  const odd = TRIALS.filter((trial) => pair[trial] !== 'ok' && pair[trial] !== '-' && but(trial));
  const groups = Map.groupBy(odd, (trial) => pair[trial]);
  return [...groups].map(([how, trials]) => `${trials.map((trial) => TRIED[trial]).join(', ')}: ${how}`).join('; ');
}

export const tried = (): string => TRIALS.map((trial) => TRIED[trial]).join(', ');

/** Over Streamable HTTP on both sides: a row per client, a column per server. */
function pairTable(): string {
  const cell = (client: Revision, server: Revision): string => {
    const pair = pairs().find(
      (one) => one.client === client && one.server === server && one.facing === 'http' && one.behind === 'http',
    );
    if (!pair) throw new Error(`the matrix has no pair ${client} and ${server}`);
    return instead(pair) || 'all';
  };
  return table(
    ['client \\ server', ...REVISIONS],
    REVISIONS.map((client) => [`**${client}**`, ...REVISIONS.map((server) => cell(client, server))]),
  );
}

const WIRES: Readonly<Record<Wire, string>> = { http: 'Streamable HTTP', sse: 'HTTP+SSE', stdio: 'stdio' };

/** What is otherwise where one side speaks another transport. */
function transportTable(): string {
  const all = pairs();
  const others = all.filter(({ facing, behind }) => facing !== 'http' || behind !== 'http');
  const usual = (pair: Pair): Pair =>
    all.find(
      ({ client, server, facing, behind }) =>
        client === pair.client && server === pair.server && facing === 'http' && behind === 'http',
    )!;
  const groups = Map.groupBy(others, ({ facing, behind }) => `${facing} ${behind}`);
  const rows = [...groups.values()].map((group) => {
    const [{ facing, behind }] = group as [Pair];
    const odd = Map.groupBy(
      group.filter((pair) => TRIALS.some((trial) => pair[trial] !== usual(pair)[trial])),
      (pair) => instead(pair, (trial) => pair[trial] !== usual(pair)[trial]),
    );
    const differs = [...odd].map(([what, which]) => {
      const servers = REVISIONS.filter((server) => which.some((pair) => pair.server === server));
      return `${what} (servers of ${spell(servers)})`;
    });
    return [
      WIRES[facing],
      WIRES[behind],
      spell(REVISIONS.filter((client) => group.some((pair) => pair.client === client))),
      spell(REVISIONS.filter((server) => group.some((pair) => pair.server === server))),
      differs.join('; ') || 'nothing',
    ];
  });
  return table(['client speaks', 'server speaks', 'clients', 'servers', 'other than above'], rows);
}

function spell(revisions: readonly Revision[]): string {
  const [first] = revisions;
  const inARow = revisions.every((one, i) => REVISIONS.indexOf(one) === REVISIONS.indexOf(first!) + i);
  return revisions.length > 2 && inARow ? `${first} to ${revisions.at(-1)}` : revisions.join(', ');
}

interface FeatureRow {
  readonly feature: string;
  /** A client of up to 2025-11-25 in front of a server of 2026-07-28. */
  readonly oldAtNew: string;
  /** A client of 2026-07-28 in front of a server of up to 2025-11-25. */
  readonly newAtOld: string;
  /** File under `test/`, title in it. */
  readonly tests: ReadonlyArray<readonly [file: string, title: string]>;
}

export const FEATURES: readonly FeatureRow[] = [
  {
    feature: 'Opening',
    oldAtNew:
      'converted: the gateway answers `initialize` itself, in the revision asked for; the server is asked `server/discover` and gets version and capabilities with every request',
    newAtOld:
      'converted: the gateway answers `server/discover` itself; it meets the server with `initialize` once per connection',
    tests: [
      ['protocol/results.test.ts', 'initialize carries the negotiated version and no sign of the modern era'],
      ['protocol/results.test.ts', 'server/discover names envelope versions only, is private and complete'],
      ['gateway/rig.test.ts', 'a %s client lists and calls the tools of the %s server'],
    ],
  },
  {
    feature: 'Instructions, name of the server',
    oldAtNew:
      'instructions pass as they were approved, at the server’s own endpoint; the name clients see is the gateway’s',
    newAtOld: 'the same',
    tests: [['gateway/prompts.test.ts', 'reads its instructions as they were approved']],
  },
  {
    feature: 'Sessions',
    oldAtNew: 'converted: the session is the gateway’s (a sealed id that any node continues); the server sees none',
    newAtOld:
      'converted: the gateway holds the session with the server, one for all, or one per person, agent and abilities of the client (`connections`, `asks`); opened again if the server forgets it, and nothing that may have arrived is sent twice',
    tests: [
      ['protocol/session.test.ts', 'a sealed session opens to the same facts, its time and a nonce of its own'],
      [
        'upstream/lanes.test.ts',
        'equal keys share, others have a session of their own, and only they declare what was given',
      ],
      [
        'upstream/http.test.ts',
        'is made anew once for many callers, and their calls are sent again because 404 says they were not processed',
      ],
    ],
  },
  {
    feature: 'Content and schemas',
    oldAtNew:
      'converted for the revision of the session: what it does not know comes as text, or is left out when it is only a member; an output schema that is no object is wrapped as `{result}`, and the result with it',
    newAtOld:
      'passes, with `resultType` and private cache hints added; what a server says of tasks in a definition is not shown',
    tests: [
      ['protocol/results-by-revision.test.ts', '%s: %s in the result of a call'],
      ['protocol/republish.test.ts', 'one unwrapped schema makes a legacy client lose the whole list; ours does not'],
    ],
  },
  {
    feature: 'list_changed',
    oldAtNew:
      'converted: the gateway listens to the server once; a session with a GET stream hears of it if its own list differs',
    newAtOld: 'converted: from the server’s stream to every `subscriptions/listen` whose own list differs',
    tests: [
      [
        'gateway/session-stream.test.ts',
        'L7: the first event only says where to resume; a change of a list is an event with an id',
      ],
      ['gateway/listen.test.ts', 'M16: a change of a list is told once, and only to whoever asked for that list'],
      ['upstream/conversation.test.ts', 'a new one is opened before the old one ends, and what both say is heard once'],
    ],
  },
  {
    feature: 'Subscribed resources',
    oldAtNew:
      'converted: `resources/subscribe` of all sessions becomes one filter of the gateway’s `subscriptions/listen`; updates come on the GET stream',
    newAtOld:
      'converted: `resources/subscribe` per URI; the acknowledgement names only what this server tells of. After a gap each resource is told of once',
    tests: [
      ['gateway/resource-updates.test.ts', 'M16: an SDK v2 client that listens for it is told by the name it used'],
      [
        'gateway/resource-updates.test.ts',
        'L6: an SDK v1 client that subscribed is told on the stream of its session, until it unsubscribes',
      ],
      ['contracts/conversation.ts', 'changes of the lists and of watched resources are heard, of others not'],
      ['upstream/conversation.test.ts', 'after a break everything is reported once, when the server listens again'],
      [
        'gateway/listen.test.ts',
        'M16: the first message acknowledges what is honoured, with the id of the request in its own type',
      ],
    ],
  },
  {
    feature: 'Elicitation, sampling, roots',
    oldAtNew:
      'converted: `input_required` of the server becomes real requests on the stream of the call; the answers go back in a new round, ten at most. The server’s state stays here',
    newAtOld:
      'converted: the server’s request waits, the client gets `input_required` and its retry brings the answer to it; the call is made once',
    tests: [
      ['gateway/asks.test.ts', 'answers a form, and the server continues the same call'],
      ['gateway/asks.test.ts', 'lends its model'],
      ['gateway/asks.test.ts', 'names its roots'],
      [
        'gateway/asks-attacks.test.ts',
        'PH-05: a parked call is carried out once, however often its answer is brought again',
      ],
    ],
  },
  {
    feature: 'What a client cannot be asked',
    oldAtNew:
      'refused: the server is not told that it could ask. If it says `-32021`, a call ends as a failed tool that names the code, other methods with `-32603`',
    newAtOld:
      'refused: a server’s question that the record or the client does not allow is answered `-32601` at once; nothing is parked',
    tests: [
      ['gateway/asks-attacks.test.ts', 'PH-08: %s is asked only if the record allows it and the client declared it'],
      ['gateway/asks.test.ts', 'is asked only what it declared'],
    ],
  },
  {
    feature: 'A visit to a URL',
    oldAtNew: 'converted: `elicitation/create` with an id of ours for 2025-11-25; older clients cannot be asked',
    newAtOld:
      'converted: `-32042` becomes `input_required`, and the retry makes the call anew. Clients that cannot be asked read the address in words, or get `-32042` if they know it',
    tests: [
      [
        'gateway/visits.test.ts',
        'a modern client is asked by input_required, without an id, and its retry makes the call once more',
      ],
      ['gateway/visits.test.ts', 'a 2025-11-25 client that declared it gets the error it knows, another one words'],
      ['protocol/asks.test.ts', 'a URL: only from 2025-11-25 on, which alone knows it by an id'],
    ],
  },
  {
    feature: 'Progress',
    oldAtNew: 'passes, under a token of ours to the server and the client’s own back; only rising, inspected',
    newAtOld: 'the same',
    tests: [
      ['gateway/relay.test.ts', 'hears progress as it comes'],
      ['gateway/relay.test.ts', 'progress only rises, has a number, is of this call, and ends with the reply'],
    ],
  },
  {
    feature: 'Cancelling',
    oldAtNew:
      'converted: `notifications/cancelled`, on any node, closes the stream to the server (stdio: is sent on with its id). Leaving is not cancelling',
    newAtOld:
      'converted: leaving sends `notifications/cancelled` to the server, also for a parked call whose retry leaves',
    tests: [
      ['gateway/relay.test.ts', 'cancels its call'],
      [
        'gateway/relay.test.ts',
        'RL-03: a client that leaves: the modern one cancels its call, the legacy one does not',
      ],
      ['gateway/nodes.test.ts', 'a cancellation that lands on another node ends the call'],
    ],
  },
  {
    feature: 'Log lines',
    oldAtNew: 'converted: the level of the session goes with every call; lines come on the stream of the call',
    newAtOld:
      'converted: the most verbose level anybody asked for is set once per connection, each call gets its own level. Only lines that came on the stream of a call; see below',
    tests: [
      ['gateway/relay.test.ts', 'hears log lines of its call, of the level it wants'],
      [
        'contracts/conversation.ts',
        'log lines come from the level that was asked for, or not at all where they cannot be told apart',
      ],
    ],
  },
  {
    feature: 'ping',
    oldAtNew: 'answered by the gateway, never sent on',
    newAtOld: 'the revision has none: `-32601`. A server’s ping is answered by the gateway',
    tests: [
      ['gateway/greeting.test.ts', 'ping is answered and not recorded'],
      [
        'upstream/stdio.test.ts',
        'a server that asks for sampling is told that nobody does that here; ping is answered',
      ],
    ],
  },
  {
    feature: 'Cache hints',
    oldAtNew: 'left out',
    newAtOld: 'ours: always private; lists 30 s, what was read 0. A server’s own are not passed on',
    tests: [
      ['protocol/results.test.ts', 'a list has cache hints for modern clients and none for legacy ones'],
      [
        'gateway/resources-access.test.ts',
        'AZ-13: is private, whatever the server said of its own, and no two people share one',
      ],
    ],
  },
  {
    feature: 'Pages',
    oldAtNew:
      'converted: the gateway reads a server’s lists to the end and gives pages of its own (1,000 entries, sealed cursors)',
    newAtOld: 'the same',
    tests: [
      ['upstream/lists.test.ts', 'is read to the end of its pages, in order, the empty cursor included'],
      ['gateway/prompts.test.ts', 'a cursor of one list is none of another'],
    ],
  },
  {
    feature: 'Tasks',
    oldAtNew:
      'converted: for 2025-11-25 with `params.task` a task of the gateway (`tasks/get`, `result`, `list`, `cancel`); all others wait for the call. The server’s own task is polled by the gateway',
    newAtOld:
      'converted: with the extension, a tool whose approved definition speaks of tasks is a task of the gateway. Without it the call waits, or is refused with `-32021` if the tool requires tasks',
    tests: [
      ['gateway/tasks.test.ts', 'which calls become tasks'],
      [
        'gateway/tasks.test.ts',
        'a server with tasks of its own is followed by the gateway: its task id reaches nobody',
      ],
      [
        'gateway/tasks.test.ts',
        'reach a client of 2025-11-25 on the stream of tasks/result, and its answer reaches the server',
      ],
    ],
  },
  {
    feature: 'Streams that break',
    oldAtNew:
      'passes on our side: events are kept for ten minutes and resumed with `Last-Event-ID`, on any node. To the server the request is lost, and the client is told that its effect is unknown',
    newAtOld:
      'on the server’s side the gateway resumes by itself, where the server gave ids; to the client the request is lost with its stream',
    tests: [
      [
        'gateway/session-stream.test.ts',
        'L5, L7: a call goes on without its client, and its reply is found by resuming',
      ],
      ['gateway/nodes.test.ts', 'L7: a dropped stream is resumed on another node, live to its end'],
      [
        'upstream/conversation.test.ts',
        'is resumed from the last event after the pause the server asked for; the call is sent once',
      ],
      ['upstream/conversation.test.ts', 'a modern one is never resumed'],
    ],
  },
  {
    feature: 'Headers that repeat the body',
    oldAtNew:
      'made by the gateway from what was inspected, from the approved schema; an old client is shown no `x-mcp-header`',
    newAtOld: 'checked against the body (`-32020`), and not sent on',
    tests: [
      ['upstream/http.test.ts', 'mirrors name and declared arguments into headers, encoded'],
      ['attacks/messages.test.ts', 'PH-01: %s: 400, -32020, nothing is sent'],
      [
        'protocol/republish.test.ts',
        'mirrored parameters are told to modern clients only, and a property of that name is a property',
      ],
    ],
  },
  {
    feature: 'Batches',
    oldAtNew:
      '2025-03-26 only: each message is read, decided, recorded and sent by itself; the answers come as one array. Refused in every other revision',
    newAtOld: 'refused: `-32600`. Servers never get any',
    tests: [
      [
        'protocol/read-request.test.ts',
        'every element is read by the whole ladder, in order, and one that fails does not touch the others',
      ],
      [
        'protocol/read-request.test.ts',
        'PH-06: in the modern era responses and arrays are refused with -32600 whatever they hold',
      ],
    ],
  },
  {
    feature: 'Extensions',
    oldAtNew: 'MCP Apps pass if the server’s record lists them; everything else is taken out',
    newAtOld: 'the same; declared to the client are those of the record, and tasks, which are the gateway’s',
    tests: [
      [
        'gateway/resources-access.test.ts',
        'PH-12: a %s client hears of MCP Apps only from a server whose record allows them',
      ],
      [
        'gateway/resources-access.test.ts',
        'PH-12: what is declared to clients is what the record allows, and tasks, which are ours',
      ],
    ],
  },
  {
    feature: 'Errors',
    oldAtNew:
      'converted: codes the client knows, on HTTP 200; a resource that is not found is `-32002`. A failed call of a tool is a result that names the code; a server’s words and data do not pass',
    newAtOld:
      'converted: retired and undefined codes become `-32603`, `-32002` becomes `-32602`; a server’s words and data do not pass',
    tests: [
      [
        'protocol/write-response.test.ts',
        'a server’s %d is read as %d by modern, %d by legacy clients, %d after a read',
      ],
      [
        'protocol/write-response.test.ts',
        'M23: whatever a server sends, a modern client never sees a retired or an undefined code',
      ],
      ['attacks/record.test.ts', 'PH-10: a JSON-RPC error of the server is told by its code alone'],
    ],
  },
  {
    feature: 'HTTP+SSE (2024-11-05)',
    oldAtNew:
      'clients: served at `…/sse` where the server’s record says `clientsOverSse: true`, else refused with the address to use',
    newAtOld: 'servers: found by asking, or declared; one GET stream per connection',
    tests: [
      ['gateway/sse-endpoint.test.ts', 'L16: the SDK v1 lists, calls, is asked and is told over HTTP+SSE'],
      ['gateway/sse-endpoint.test.ts', 'is not there for a server whose record does not offer it, and says what is'],
      ['upstream/sse.test.ts', 'C5: a real SDK server of that kind is found by asking'],
    ],
  },
  {
    feature: 'Which era a server is',
    oldAtNew:
      'asked with `server/discover`; only a server’s own words count as evidence, never a status like 401 or 503',
    newAtOld: 'the same; over stdio a throw-away process is asked, and “legacy” is asked again after a day',
    tests: [
      ['upstream/bad-bytes.test.ts', 'takes nothing for modern but a discovery or an error only a modern server has'],
      ['upstream/http.test.ts', '%i to the first question is no evidence of an era'],
      ['upstream/pool.test.ts', 'the era question costs a sibling once; the verdict is remembered'],
    ],
  },
];

function featureTable(): string {
  const rows = FEATURES.map(({ feature, oldAtNew, newAtOld }, i) => [
    `${feature} <sup>${i + 1}</sup>`,
    oldAtNew,
    newAtOld,
  ]);
  return table(['feature', 'old client, new server', 'new client, old server'], rows);
}

function proofList(): string {
  return FEATURES.map(({ tests }, i) => {
    const named = tests.map(([file, title]) => `\`test/${file}\` “${title}”`);
    return `${i + 1}. ${named.join('; ')}`;
  }).join('\n');
}

interface Results {
  readonly suite: string;
  readonly runs: Readonly<
    Record<string, Readonly<Record<string, { readonly direct: string; readonly through: string }>>>
  >;
}
interface Expected {
  readonly run: string;
  readonly scenario: string;
  readonly check: string;
  readonly reason: string;
}

/** Per run: scenarios, and checks direct and through the gateway. */
function conformanceTable(): string {
  const { suite, runs } = json('test/conformance/results.json') as Results;
  const expected = json('test/conformance/expected-failures.json') as readonly Expected[];
  const sum = (texts: readonly string[]): string => {
    const counts = texts.map((text) => /^(\d+) passed, (\d+) failed$/.exec(text)!.slice(1).map(Number));
    const of = (at: number): number => counts.reduce((total, one) => total + one[at]!, 0);
    return `${of(0)} passed, ${of(1)} failed`;
  };
  const rows = Object.entries(runs).map(([run, scenarios]) => {
    const all = Object.values(scenarios);
    const lower = expected.filter((one) => one.run === run).length;
    return [
      run,
      String(all.length),
      sum(all.map(({ direct }) => direct)),
      sum(all.map(({ through }) => through)),
      lower === 0 ? 'none' : String(lower),
    ];
  });
  const head = ['run', 'scenarios', 'checks, direct', 'checks, through the gateway', 'lower than direct'];
  return `\`${suite}\`\n\n${table(head, rows)}`;
}

/** Checks that are lower than direct, each with its reason. */
function lowerTable(): string {
  const expected = json('test/conformance/expected-failures.json') as readonly Expected[];
  const groups = Map.groupBy(expected, ({ run, scenario, reason }) => JSON.stringify([run, scenario, reason]));
  const rows = [...groups.values()].map((group) => {
    const [{ run, scenario, reason }] = group as [Expected];
    const checks = group.map(({ check }) => `\`${check.split(' ')[0]}\``).join(', ');
    return [run, `\`${scenario}\``, checks, reason];
  });
  return table(['run', 'scenario', 'checks', 'why'], rows);
}

export const BLOCKS: Readonly<Record<string, () => string>> = {
  pairs: pairTable,
  transports: transportTable,
  features: featureTable,
  proofs: proofList,
  conformance: conformanceTable,
  lower: lowerTable,
};

const blockOf = (name: string): RegExp =>
  new RegExp(`(<!-- generated: ${name} -->\\n)[\\s\\S]*?(<!-- end of ${name} -->)`);

/** The guide with every generated block made anew. @throws Error when it has no place for one. */
export function withBlocks(guide: string): string {
  let text = guide;
  for (const [name, make] of Object.entries(BLOCKS)) {
    const place = blockOf(name);
    if (!place.test(text)) throw new Error(`docs/guides/versions.md has no block "${name}"`);
    const made = make();
    text = text.replace(place, (_all, begin: string, end: string) => `${begin}${made}\n${end}`);
  }
  return text;
}

if (import.meta.main) writeFileSync(GUIDE, withBlocks(readFileSync(GUIDE, 'utf8')));
