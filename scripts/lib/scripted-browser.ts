/**
 * A browser without a screen: follows redirects, keeps cookies, fills in the authorization server's two forms.
 * For tests and the demo. It stops before it would leave the authorization server and hands back where it was sent.
 * Not a real browser: it does not enforce policies (CSP, SameSite); it sends Origin as one would.
 */

export interface SignInOptions {
  readonly authorizationUrl: string | URL;
  readonly username: string;
  readonly password: string;
  readonly decision: 'allow' | 'deny';
  /** Cookies of an earlier visit; a new jar when left out. */
  readonly jar?: CookieJar;
  /** Sees every page on the way, in order. */
  readonly onPage?: (page: Page) => void;
}

export interface Page {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface CookieJar {
  header(url: URL): string;
  store(url: URL, response: Response): void;
}

export function cookieJar(): CookieJar {
  const cookies = new Map<string, { value: string; path: string; host: string }>();
  return {
    header: (url) =>
      [...cookies]
        .filter(([, { path, host }]) => host === url.hostname && url.pathname.startsWith(path))
        .map(([key, { value }]) => `${key.split(' ')[0]}=${value}`)
        .join('; '),
    store: (url, response) => {
      for (const line of response.headers.getSetCookie()) {
        const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
        const at = pair.indexOf('=');
        const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
        const named = (key: string) =>
          attributes.find((attribute) => attribute.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
        const path = named('path') ?? '/';
        const expires = named('expires');
        const key = `${name} ${url.hostname} ${path}`;
        if (value === '' || (expires !== undefined && Date.parse(expires) <= Date.now())) cookies.delete(key);
        else cookies.set(key, { value, path, host: url.hostname });
      }
    },
  };
}

export interface Browser {
  /** Follows redirects while they stay on the origin. Ends with a page, or with the address outside it was sent to. */
  open(url: string | URL): Promise<{ page: Page } | { leftFor: URL }>;
  submit(page: Page, fields: Readonly<Record<string, string>>): Promise<{ page: Page } | { leftFor: URL }>;
}

const MAX_HOPS = 20;

export function browser(jar: CookieJar = cookieJar(), onPage: (page: Page) => void = () => {}): Browser {
  const travel = async (start: URL, first: RequestInit): Promise<{ page: Page } | { leftFor: URL }> => {
    let url = start;
    let init = first;
    for (let hop = 0; hop < MAX_HOPS; hop++) {
      const headers = new Headers(init.headers);
      const cookie = jar.header(url);
      if (cookie !== '') headers.set('cookie', cookie);
      headers.set('accept', 'text/html');
      const response = await fetch(url, { ...init, headers, redirect: 'manual', signal: AbortSignal.timeout(10_000) });
      jar.store(url, response);
      const location = response.headers.get('location');
      if (location === null || response.status < 300 || response.status >= 400) {
        const page = { url: url.href, status: response.status, headers: response.headers, text: await response.text() };
        onPage(page);
        return { page };
      }
      await response.body?.cancel();
      const next = new URL(location, url);
      if (next.origin !== start.origin) return { leftFor: next };
      url = next;
      init = { method: 'GET' };
    }
    throw new Error(`more than ${MAX_HOPS} redirects from ${start.href}`);
  };
  return {
    open: (url) => travel(new URL(url), { method: 'GET' }),
    submit: (page, fields) => {
      const action = new URL(attribute(page.text, 'form', 'action'), page.url);
      const body = new URLSearchParams({ ...hiddenFields(page.text), ...fields });
      return travel(action, {
        method: 'POST',
        body,
        headers: { origin: action.origin, 'sec-fetch-site': 'same-origin' },
      });
    },
  };
}

/**
 * Signs in and decides, whatever pages come. Returns the callback URL the client would receive (with code or error).
 * @throws Error when the server shows a page that is neither form, or refuses the sign-in
 */
export async function signInAndConsent(options: SignInOptions): Promise<URL> {
  const visit = browser(options.jar, options.onPage);
  let at = await visit.open(options.authorizationUrl);
  for (let step = 0; step < 6; step++) {
    if ('leftFor' in at) return at.leftFor;
    const form = hiddenFields(at.page.text)['step'];
    if (form === 'sign-in' && step === 0) {
      at = await visit.submit(at.page, {
        username: options.username,
        password: options.password,
        decision: 'continue',
      });
    } else if (form === 'consent') {
      at = await visit.submit(at.page, { decision: options.decision });
    } else {
      throw new Error(`the authorization server stopped at: ${at.page.status} ${textOf(at.page.text)}`);
    }
  }
  throw new Error('the authorization server keeps asking');
}

export function hiddenFields(page: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [tag] of page.matchAll(/<input type="hidden"[^>]*>/g))
    fields[attribute(tag, 'input', 'name')] = attribute(tag, 'input', 'value');
  return fields;
}

function attribute(markup: string, tag: 'form' | 'input', name: 'action' | 'name' | 'value'): string {
  const found = markup.match(tag === 'form' ? /<form[^>]*>/ : /<input[^>]*>/)?.[0] ?? '';
  const at = found.indexOf(` ${name}="`);
  if (at < 0) throw new Error(`the page has no ${tag} with ${name}`);
  const start = at + name.length + 3;
  return unescape(found.slice(start, found.indexOf('"', start)));
}

const unescape = (text: string): string =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&#96;', '`')
    .replaceAll('&amp;', '&');

/** The words of a page, for messages. */
const textOf = (page: string): string =>
  unescape(page.replace(/<style>[^<]*<\/style>/, '').replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim();
