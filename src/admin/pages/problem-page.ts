/** What a page says when it cannot be shown. As in the API: no address, no stack, no word about what exists and is somebody else's. */
import { markup } from '../../lib/html.ts';
import type { Problem } from '../problem.ts';
import type { Need } from '../session/browser.ts';
import { page, type Visitor } from './frame.ts';

export interface ProblemView {
  readonly problem: Problem;
  readonly ref: string;
  readonly visitor: Visitor | null;
  /** Where signing in helps. `returnTo` is a page of ours. */
  readonly signIn: { readonly need: Need; readonly returnTo: string | null } | null;
}

const TITLES: Readonly<Partial<Record<number, string>>> = {
  401: 'Sign in',
  403: 'Not allowed',
  404: 'Nothing here',
  409: 'Not decided',
  503: 'Not now',
};

export function problemPage({ problem, ref, visitor, signIn }: ProblemView): string {
  const stepUp = problem.stepUp !== undefined;
  const title = stepUp ? 'Sign in again' : (TITLES[problem.status] ?? 'That did not work');
  const text = stepUp
    ? 'This needs a sign-in that is more recent, or one with a second factor. Nothing was changed.'
    : problem.message;
  const remedy = stepUp || signIn !== null ? null : problem.remedy;
  return page(
    title,
    visitor,
    markup`<div class="card">
<h1>${title}</h1>
<p${problem.status === 401 ? markup`` : markup` class="bad" role="alert"`}>${text}</p>
${remedy === null || remedy === undefined ? null : markup`<p>${remedy}</p>`}
${signIn === null ? null : markup`<div class="row"><a class="button" href="${signInAddress(signIn.need, signIn.returnTo)}">Sign in</a></div>`}
<dl>
<dt>Code</dt><dd><code>${problem.code}</code></dd>
<dt>Reference</dt><dd><code>${ref}</code></dd>
</dl>
</div>`,
  );
}

function signInAddress(need: Need, returnTo: string | null): string {
  const query = new URLSearchParams({
    ...(returnTo !== null && { return: returnTo }),
    ...(need !== 'sign-in' && { need }),
  });
  return query.size === 0 ? '/session/sign-in' : `/session/sign-in?${query.toString()}`;
}

export const signedOutPage = (): string =>
  page(
    'Signed out',
    null,
    markup`<div class="card">
<h1>You are signed out here</h1>
<p>Your session at the authorization server may go on. On a computer that others use, close the browser.</p>
<div class="row"><a class="button" href="/session/sign-in">Sign in</a></div>
</div>`,
  );
