/** One HTTP request whose answer is read as server-sent events while it comes, on node:http and by hand: no code of the product. */
import { Agent, request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { JsonObject } from '../../src/lib/json.ts';
import { until } from './upstreams/open.ts';

export interface ReceivedEvent {
  readonly id?: string;
  readonly event?: string;
  readonly retry?: string;
  readonly data: string;
}

export interface EventStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Whole events with data or an id, oldest first. */
  readonly events: readonly ReceivedEvent[];
  /** The JSON-RPC messages among them. */
  messages(): readonly JsonObject[];
  /** Everything as it came. */
  text(): string;
  readonly ended: boolean;
  /** Polls until that many messages are there. */
  atLeast(count: number, ms?: number): Promise<readonly JsonObject[]>;
  end(ms?: number): Promise<void>;
  /** Stops reading, without closing. */
  stall(): void;
  /** Cuts the connection. */
  cut(): void;
}

/** Resolves with the head of the answer. */
export function openStream(
  url: string,
  options: { readonly method: string; readonly headers: Readonly<Record<string, string>>; readonly body?: string },
): Promise<EventStream> {
  const agent = new Agent({ keepAlive: false });
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: options.method, headers: options.headers, agent }, (response) =>
      resolve(reading(response, () => outgoing.destroy())),
    );
    outgoing.on('error', reject);
    outgoing.end(options.body);
  });
}

function reading(response: IncomingMessage, destroy: () => void): EventStream {
  let text = '';
  let ended = false;
  const events: ReceivedEvent[] = [];
  let rest = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
    rest += chunk;
    for (let at = rest.indexOf('\n\n'); at >= 0; at = rest.indexOf('\n\n')) {
      const one = parse(rest.slice(0, at));
      rest = rest.slice(at + 2);
      if (one) events.push(one);
    }
  });
  const over = (): void => void (ended = true);
  response.on('end', over);
  response.on('close', over);
  response.on('error', over);
  const messages = () =>
    events.filter(({ data }) => data.startsWith('{')).map(({ data }) => JSON.parse(data) as JsonObject);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    messages,
    text: () => text,
    get ended() {
      return ended;
    },
    async atLeast(count, ms) {
      await until(`${count} messages; there are ${events.length} events`, () => messages().length >= count, ms);
      return messages();
    },
    end: (ms) => until('the stream ends', () => ended, ms),
    stall: () => void response.pause(),
    cut: destroy,
  };
}

function parse(block: string): ReceivedEvent | null {
  const fields: Record<string, string> = {};
  let data: string | null = null;
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
    if (name === 'data') data = data === null ? value : `${data}\n${value}`;
    else fields[name] = value;
  }
  return data === null ? null : { ...fields, data };
}
