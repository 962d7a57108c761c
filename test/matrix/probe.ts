/** One cell of the matrix: everything a client and a server can do together is tried, each trial ends in one word. */
import type { Revision } from './revisions.ts';
import type { CallResult } from './revisions.ts';
import { type MatrixClient, ROOT } from './client.ts';
import { LINK, TEMPLATE, TOOLS } from './offer.ts';
import { knows } from './revisions.ts';

/** `ok`, `-` (the server does not know it), or what the client gets instead; anything else is what went wrong. */
export type Cell = Readonly<Record<Trial, string>>;
export const TRIALS = [
  'list',
  'text',
  'image',
  'audio',
  'link',
  'structured',
  'array',
  'error',
  'read',
  'template',
  'prompt',
  'complete',
  'progress',
  'log',
  'form',
  'model',
  'roots',
  'cancel',
] as const;
export type Trial = (typeof TRIALS)[number];

const since = (name: string): Revision => TOOLS.find((tool) => tool.name === name)?.since ?? '2024-11-05';

/** What has to come out. Down-conversion: PROTOCOL L11 to L13. */
export function expected(client: Revision, server: Revision, behind: 'http' | 'sse' | 'stdio'): Cell {
  const given = (name: string, otherwise: string): string => {
    if (!knows(server, since(name))) return '-';
    return knows(client, since(name)) ? 'ok' : otherwise;
  };
  const always = Object.fromEntries(TRIALS.map((trial) => [trial, 'ok'])) as Record<Trial, string>;
  return {
    ...always,
    audio: given('audio', 'as text'),
    link: given('link', 'as text'),
    structured: given('structured', 'as text'),
    array: given('array', knows(client, '2025-06-18') ? 'wrapped' : 'as text'),
    form: given('form', 'not asked'),
    // Without a stream per call, the log lines of an old server belong to no call.
    log: behind === 'http' || server === '2026-07-28' ? 'ok' : 'none',
  };
}

const textIn = (result: CallResult): string => (result.content ?? []).map(({ text }) => text ?? '').join('\n');
const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);
const ok = (holds: boolean, otherwise: () => string): string => (holds ? 'ok' : otherwise());

export async function probe(client: MatrixClient, server: Revision): Promise<Cell> {
  const offered = TOOLS.filter((tool) => knows(server, tool.since)).map(({ name }) => name);
  /** The kind of content, or that the same came as text. */
  const content = (result: CallResult, type: string): string => {
    const first = result.content?.[0];
    if (first?.type === type) return 'ok';
    return first?.type === 'text' && result.isError !== true ? 'as text' : JSON.stringify(result);
  };
  const called = (name: string, told: string) => async () => {
    const text = textIn(await client.call(name));
    return text === 'not asked' ? text : ok(text === told, () => text);
  };
  const trials: Readonly<Record<Trial, () => Promise<string>>> = {
    list: async () => {
      const { tools } = await client.listTools();
      const { resources } = await client.listResources();
      const { resourceTemplates } = await client.listResourceTemplates();
      const { prompts } = await client.listPrompts();
      const seen = [
        ...tools.map(({ name }) => name).sort(),
        ...resources.map(({ uri }) => uri),
        ...resourceTemplates.map(({ uriTemplate }) => uriTemplate),
        ...prompts.map(({ name }) => name),
      ];
      return ok(same(seen, [...offered.toSorted(), LINK, TEMPLATE, 'greeting']), () => seen.join(' '));
    },
    text: called('text', 'plain'),
    image: async () => content(await client.call('image'), 'image'),
    audio: async () => content(await client.call('audio'), 'audio'),
    link: async () => content(await client.call('link'), 'resource_link'),
    structured: async () => {
      const result = await client.call('structured');
      if (same(result.structuredContent, { sum: 3 })) return 'ok';
      return textIn(result) === '{"sum":3}' ? 'as text' : JSON.stringify(result);
    },
    array: async () => {
      const result = await client.call('array');
      if (same(result.structuredContent, [1, 2])) return 'ok';
      if (same(result.structuredContent, { result: [1, 2] })) return 'wrapped';
      return textIn(result) === '[1,2]' ? 'as text' : JSON.stringify(result);
    },
    error: async () => {
      const result = await client.call('error');
      return ok(result.isError === true && textIn(result) === 'failed on purpose', () => JSON.stringify(result));
    },
    read: async () => {
      const { contents } = await client.readResource({ uri: LINK });
      return ok(contents[0]?.text === 'the text', () => JSON.stringify(contents));
    },
    template: async () => {
      const { contents } = await client.readResource({ uri: 'matrix://item/7' });
      return ok(contents[0]?.text === 'item 7', () => JSON.stringify(contents));
    },
    prompt: async () => {
      const { messages } = await client.getPrompt({ name: 'greeting', arguments: { name: 'Ada' } });
      const { content: told } = messages[0] ?? {};
      return ok(same(told, { type: 'text', text: 'Greet Ada.' }), () => JSON.stringify(messages));
    },
    complete: async () => {
      const ref = { type: 'ref/prompt', name: 'greeting' };
      const { completion } = await client.complete({ ref, argument: { name: 'name', value: 'par' } });
      return ok(same(completion.values, ['paris', 'park', 'party']), () => JSON.stringify(completion));
    },
    progress: async () => {
      const seen: number[] = [];
      await client.call('progress', { onprogress: ({ progress }) => void seen.push(progress) });
      return ok(same(seen, [1, 2]), () => `saw ${seen.join(' ') || 'nothing'}`);
    },
    log: async () => {
      await client.call('log');
      return ok(same(client.logged, ['one line']), () =>
        client.logged.length === 0 ? 'none' : JSON.stringify(client.logged),
      );
    },
    form: called('form', 'accept Ada'),
    model: called('model', 'model pong'),
    roots: called('roots', ROOT),
    cancel: async () => {
      const stopped = async () => Number(textIn(await client.call('stopped')));
      const before = await stopped();
      const controller = new AbortController();
      const slow = client.call('slow', { signal: controller.signal }).then(
        () => 'answered',
        () => 'ok',
      );
      // The call has to be on its way; a call that comes after it and is answered says so.
      await client.call('text');
      await new Promise((resolve) => setTimeout(resolve, 100));
      controller.abort();
      const outcome = await slow;
      if (outcome !== 'ok') return outcome;
      for (let turn = 0; turn < 500; turn++) {
        if ((await stopped()) > before) return 'ok';
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return 'the server goes on';
    },
  };
  const cell: Partial<Record<Trial, string>> = {};
  for (const trial of TRIALS) {
    const isThere = !['audio', 'link', 'structured', 'array', 'form'].includes(trial) || offered.includes(trial);
    cell[trial] = isThere ? await within(trials[trial]) : '-';
  }
  return cell as Cell;
}

/** An answer within half a minute, or what went wrong instead. */
async function within(trial: () => Promise<string>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('no answer'), 30_000);
  });
  try {
    return await Promise.race([trial(), late]);
  } catch (error) {
    return `error: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    clearTimeout(timer);
  }
}
