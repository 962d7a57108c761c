/**
 * A notice as plain-text e-mail over SMTP. `Message-ID` comes from the notice, so that a doubled one is seen as such. ATTACKER-CONTROLLED:
 * names inside the text: no header is made of anything but our own words and ids, and line breaks never come into one.
 * Not promised: that anybody reads it. STARTTLS or TLS unless the configuration says `unsafePlain`.
 */
import { createTransport } from 'nodemailer';
import type { Answer } from '../../upstream/event-delivery.ts';
import type { Notice } from './notices.ts';

export interface SmtpSettings {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte (port 465); otherwise STARTTLS is demanded. */
  readonly tls: boolean;
  readonly unsafePlain: boolean;
  readonly from: string;
  readonly user?: string;
  readonly password?: () => Promise<string>;
}

export async function sendMail(
  settings: SmtpSettings,
  notice: Notice,
  url: string,
  to: readonly string[],
): Promise<Answer> {
  if (to.length === 0) return { kind: 'refused', code: 'nobody_to_tell' };
  const { host, port, tls, unsafePlain, from, user } = settings;
  const pass = await settings.password?.();
  const transport = createTransport({
    host,
    port,
    secure: tls,
    requireTLS: !tls && !unsafePlain,
    ignoreTLS: unsafePlain,
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
    socketTimeout: 20_000,
    disableFileAccess: true,
    disableUrlAccess: true,
    ...(user !== undefined && pass !== undefined && { auth: { user, pass } }),
  });
  try {
    const domain = from.slice(from.lastIndexOf('@') + 1).replace(/[>\s]/g, '');
    await transport.sendMail({
      from,
      // Nobody sees who else is told: the addresses stand in the envelope alone.
      envelope: { from, to: [...to] },
      to: 'undisclosed-recipients:;',
      subject: `[Remit] ${SUBJECTS[notice.type]}`,
      messageId: `<${notice.id}@${domain}>`,
      headers: { 'Auto-Submitted': 'auto-generated' },
      text: textOf(notice, url),
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    return { kind: 'taken' };
  } catch (error) {
    const { responseCode } = error as { responseCode?: number };
    // RFC 5321 section 4.2.1: 5yz is for good.
    if (responseCode !== undefined && responseCode >= 500) return { kind: 'refused', code: `smtp_${responseCode}` };
    return { kind: 'later', code: responseCode === undefined ? 'smtp_unreachable' : `smtp_${responseCode}` };
  } finally {
    transport.close();
  }
}

const SUBJECTS: Readonly<Record<Notice['type'], string>> = {
  'approval.waiting': 'A call waits for your decision',
  'approval.decided': 'Your held call was decided',
  'access.requested': 'Access is asked for',
  'access.decided': 'Access was decided',
  'tool.changed': 'A tool changed and is off',
  'tool.appeared': 'A new tool waits for a review',
  'server.suspended': 'A server is suspended',
  'credential.suspended': 'A credential is suspended',
  'lock.added': 'A lock was set',
  'review.opened': 'An access review waits for you',
  'break_glass.opened': 'Emergency access was opened',
  'incident.opened': 'An alarm was raised',
};

function textOf({ title, data, at }: Notice, url: string): string {
  const facts = Object.entries(data).flatMap(([name, value]) =>
    value === null ? [] : [`  ${name}: ${oneLine(String(value))}`],
  );
  return [
    oneLine(title),
    '',
    ...facts,
    '',
    `Look here: ${url}`,
    '',
    `${new Date(at).toISOString()} (nothing can be decided by answering this message)`,
    '',
  ].join('\n');
}

const oneLine = (text: string): string => text.replace(/[\r\n\u2028\u2029]+/g, ' ').slice(0, 2_000);
