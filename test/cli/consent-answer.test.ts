/** The address on this machine that an authorization server sends the browser back to. */
import { expect, test } from 'vitest';
import { answerOf } from '../../src/cli/consent-answer.ts';

test('what the browser brings is handed on as it is, and nothing else is taken for it', async () => {
  const seen: number[] = [];
  let where = '';
  const answer = await answerOf(undefined, async (redirectUri) => {
    where = redirectUri;
    const { origin } = new URL(redirectUri);
    for (const path of ['/', '/callback', '/favicon.ico', '/other?state=s'])
      seen.push((await fetch(origin + path)).status);
    seen.push((await fetch(`${redirectUri}?state=s`, { method: 'POST' })).status);
    void fetch(`${redirectUri}?code=c&state=s&iss=https%3A%2F%2Fa.example`).then(({ status }) => seen.push(status));
  });
  expect(seen.slice(0, 5)).toEqual([404, 404, 404, 404, 404]);
  expect(answer).toBe(`${where}?code=c&state=s&iss=https%3A%2F%2Fa.example`);
  expect(where).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/);
  await expect(fetch(where)).rejects.toThrow(/fetch failed/);
});

test('a gateway that refuses to begin ends the waiting', async () => {
  let where = '';
  const failing = answerOf(undefined, async (redirectUri) => {
    where = redirectUri;
    throw new Error('it was refused');
  });
  await expect(failing).rejects.toThrow('it was refused');
  await expect(fetch(where)).rejects.toThrow(/fetch failed/);
});
