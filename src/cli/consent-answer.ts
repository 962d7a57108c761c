/**
 * Waits for the browser that an authorization server sends back: on a loopback listener of our own (RFC 8252 section 7.3), or,
 * for an address that is registered elsewhere, by having the person paste what their browser shows. Reads nothing out of the
 * answer; the gateway judges it, and only for who began.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline/promises';
import { CliFailure } from './failure.ts';

const WAIT_MS = 600_000;

/** `begin` is given the address that gets the answer. Resolves with the whole address of the answer. @throws CliFailure */
export async function answerOf(
  redirectUri: string | undefined,
  begin: (redirectUri: string) => Promise<void>,
): Promise<string> {
  if (redirectUri !== undefined) {
    await begin(redirectUri);
    return pasted();
  }
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    const { port } = server.address() as AddressInfo;
    const at = URL.parse(request.url ?? '', `http://127.0.0.1:${port}`);
    // A page elsewhere can send a browser here, too; without the state it is nobody's answer.
    const isAnswer = request.method === 'GET' && at?.pathname === '/callback' && at.searchParams.has('state');
    response.writeHead(isAnswer ? 200 : 404, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
    const text = isAnswer ? 'You can close this window and go back to the terminal.\n' : 'There is nothing here.\n';
    response.end(text, () => {
      if (isAnswer) resolve(at.href);
    });
  });
  const late = setTimeout(
    () => reject(new CliFailure('failed', 'Nobody came back within ten minutes.', 'Run the command again.')),
    WAIT_MS,
  );
  try {
    await new Promise<void>((ready, failed) => {
      server.once('error', failed);
      server.listen(0, '127.0.0.1', ready);
    });
    await begin(`http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`);
    return await promise;
  } finally {
    clearTimeout(late);
    promise.catch(() => undefined);
    server.close();
    server.closeAllConnections();
  }
}

async function pasted(): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const text = (await lines.question('Paste the address your browser was sent to: ')).trim();
    if (!URL.canParse(text)) throw new CliFailure('usage', 'This is no address.', 'Paste all of it, with its query.');
    return text;
  } finally {
    lines.close();
  }
}
