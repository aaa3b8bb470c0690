"""The texts of the pages in the languages that the package has: see `languages`.

One module, though it is long: a text that changes must change in each language.
"""

from __future__ import annotations

from typing import Literal, TypedDict

PageName = Literal[
    "used",
    "no_account",
    "not_signed_in",
    "session_ended",
    "refused",
    "too_many",
    "unavailable",
    "continue_to",
    "handoff_failed",
    "cookies_blocked",
    "confirm",
    "switch",
]


class PageTexts(TypedDict, total=False):
    """The texts of one language: title and text of each page, and the labels of buttons."""

    used: tuple[str, str]
    """The link was used, has expired, or is unknown: the title, and the text below it."""

    no_account: tuple[str, str]
    """The target site has no user for the session that arrived."""

    not_signed_in: tuple[str, str]
    """The visitor opened a link to another site (`generate?to=`) without being signed in."""

    session_ended: tuple[str, str]
    """The session ended or expired after the link was made."""

    refused: tuple[str, str]
    """The request was not allowed: by the Origin rule, say."""

    too_many: tuple[str, str]
    """The client tried more often than `rate_limit` allows."""

    unavailable: tuple[str, str]
    """The store or the sessions cannot be reached just now."""

    continue_to: tuple[str, str]
    """A link leads to another site, as the signed-in user: `{host}` stands for that site's host."""

    handoff_failed: tuple[str, str]
    """The visitor came back from the site of `issuer`, and could not be signed in."""

    confirm: tuple[str, str]
    """The page of a confirm link, with a button that signs in."""

    confirm_again: str
    """The text of that page where the button did not sign in, since a cookie was not there."""

    switch: tuple[str, str]
    """A link is for another user than the signed-in one, and one of the two has no name."""

    switch_names: str
    """The text of that page if both have a name, which stand for `{present}` and `{arriving}`."""

    switch_user: str
    """The label of the button that signs in the user of the link, on that page."""

    stay: str
    """The label of the button that leaves the signed-in user signed in, on that page."""

    cookies_blocked: tuple[str, str]
    """The browser did not send back a cookie that this site had set just before."""

    one_moment: str
    """The title of a page that leads on by itself."""

    proceed: str
    """The label of the button that leads on, on that page."""

    try_again: str
    """The label of the button that opens the link once more, where cookies were blocked."""

    without_link: str
    """The label of the button to the same URL without the token."""

    sign_in: str
    """The label of the button to `login_url`."""


ENGLISH: PageTexts = {
    "used": (
        "This link no longer works",
        (
            "It has been used already, or it has expired. Please go back to the page you came "
            "from and try again there. Ask for a new one if you do not find it."
        ),
    ),
    "no_account": (
        "You have no account here",
        (
            "You are signed in at the other site, but this site has no account for you. If you "
            "expected to have one, please contact this site’s support."
        ),
    ),
    "not_signed_in": (
        "You are not signed in",
        ("Please sign in at this site first, and then open the link again."),
    ),
    "session_ended": (
        "Please sign in again",
        (
            "Your session ended before this link was opened. Please sign in again, and then "
            "open a new link."
        ),
    ),
    "refused": (
        "This request was refused",
        ("For your security, this site did not accept the request, and you were not signed in."),
    ),
    "too_many": (
        "Too many attempts",
        (
            "Too many links have been opened from your network within a short time. Please wait a "
            "moment and reload this page. Your link has not been used."
        ),
    ),
    "unavailable": (
        "Please try again shortly",
        (
            "Signing you in did not work just now. Please wait a moment and reload this page. "
            "If that does not help, ask for a new link."
        ),
    ),
    "continue_to": (
        "Continue to {host}",
        (
            "This link leads to another site, which will sign you in with your account from here. "
            "If you did not expect that, please close this page."
        ),
    ),
    "handoff_failed": (
        "You were not signed in",
        (
            "Signing you in through another site did not work. Please try again. If that does "
            "not help, allow cookies for this site in your browser, or contact its support."
        ),
    ),
    "confirm": (
        "Do you want to sign in?",
        (
            "Press the button to sign in. If you did not ask for this link, close this page: you "
            "are not signed in yet."
        ),
    ),
    "confirm_again": (
        "You were not signed in: this page was open for too long, or your browser blocks "
        "cookies. Please press the button again."
    ),
    "switch": (
        "Switch user?",
        (
            "You are signed in here already, and this link is for another user. If you do not "
            "know where the link comes from, stay signed in as you are."
        ),
    ),
    "switch_names": (
        "You are signed in as {present}. This link is for {arriving}. If you do not know where "
        "the link comes from, stay signed in as you are."
    ),
    "switch_user": "Switch user",
    "stay": "Stay signed in",
    "cookies_blocked": (
        "Cookies are blocked",
        (
            "This site needs a cookie to sign you in. Please allow cookies for this site in "
            "your browser, and then try again."
        ),
    ),
    "one_moment": "One moment, please",
    "proceed": "Continue",
    "try_again": "Try again",
    "without_link": "Continue without this link",
    "sign_in": "Sign in",
}

GERMAN: PageTexts = {
    "used": (
        "Dieser Link funktioniert nicht mehr",
        (
            "Er wurde bereits verwendet oder ist abgelaufen. Bitte gehen Sie zurück zu der "
            "Seite, von der Sie gekommen sind, und versuchen Sie es dort noch einmal. Wenn Sie "
            "die Seite nicht mehr finden, fordern Sie bitte einen neuen Link an."
        ),
    ),
    "no_account": (
        "Sie haben hier kein Konto",
        (
            "Sie sind auf der anderen Website angemeldet, aber auf dieser Website gibt es kein "
            "Konto für Sie. Falls Sie hier eines erwartet haben, wenden Sie sich bitte an den "
            "Support dieser Website."
        ),
    ),
    "not_signed_in": (
        "Sie sind nicht angemeldet",
        (
            "Bitte melden Sie sich zuerst auf dieser Website an und öffnen Sie den Link dann noch "
            "einmal."
        ),
    ),
    "session_ended": (
        "Bitte melden Sie sich erneut an",
        (
            "Ihre Sitzung wurde beendet, bevor dieser Link geöffnet wurde. Bitte melden Sie "
            "sich erneut an und öffnen Sie dann einen neuen Link."
        ),
    ),
    "refused": (
        "Diese Anfrage wurde abgelehnt",
        (
            "Zu Ihrer Sicherheit hat diese Website die Anfrage nicht angenommen. Sie wurden "
            "nicht angemeldet."
        ),
    ),
    "too_many": (
        "Zu viele Versuche",
        (
            "Aus Ihrem Netz wurden in kurzer Zeit zu viele Links geöffnet. Bitte warten Sie einen "
            "Moment und laden Sie diese Seite neu. Ihr Link wurde nicht verwendet."
        ),
    ),
    "unavailable": (
        "Bitte versuchen Sie es gleich noch einmal",
        (
            "Die Anmeldung hat gerade nicht funktioniert. Bitte warten Sie einen Moment und "
            "laden Sie diese Seite neu. Wenn das nicht hilft, fordern Sie bitte einen neuen "
            "Link an."
        ),
    ),
    "continue_to": (
        "Weiter zu {host}",
        (
            "Dieser Link führt zu einer anderen Website, die Sie mit Ihrer Anmeldung von hier "
            "anmeldet. Wenn Sie das nicht erwartet haben, schließen Sie diese Seite."
        ),
    ),
    "handoff_failed": (
        "Sie wurden nicht angemeldet",
        (
            "Die Anmeldung über eine andere Website hat nicht funktioniert. Bitte versuchen Sie "
            "es noch einmal. Wenn das nicht hilft, erlauben Sie in Ihrem Browser Cookies für "
            "diese Website, oder wenden Sie sich an ihren Support."
        ),
    ),
    "confirm": (
        "Möchten Sie sich anmelden?",
        (
            "Mit der Schaltfläche melden Sie sich an. Wenn Sie diesen Link nicht angefordert "
            "haben, schließen Sie diese Seite bitte: Sie sind noch nicht angemeldet."
        ),
    ),
    "confirm_again": (
        "Sie wurden nicht angemeldet: Diese Seite war zu lange geöffnet, oder Ihr Browser "
        "blockiert Cookies. Bitte drücken Sie die Schaltfläche noch einmal."
    ),
    "switch": (
        "Benutzer wechseln?",
        (
            "Sie sind hier bereits angemeldet, und dieser Link ist für einen anderen Benutzer. "
            "Wenn Sie nicht wissen, woher der Link kommt, bleiben Sie wie bisher angemeldet."
        ),
    ),
    "switch_names": (
        "Sie sind angemeldet als {present}. Dieser Link ist für {arriving}. Wenn Sie nicht "
        "wissen, woher der Link kommt, bleiben Sie wie bisher angemeldet."
    ),
    "switch_user": "Benutzer wechseln",
    "stay": "Angemeldet bleiben",
    "cookies_blocked": (
        "Cookies sind blockiert",
        (
            "Für die Anmeldung braucht diese Website ein Cookie. Bitte erlauben Sie in Ihrem "
            "Browser Cookies für diese Website und versuchen Sie es dann noch einmal."
        ),
    ),
    "one_moment": "Einen Moment bitte",
    "proceed": "Weiter",
    "try_again": "Noch einmal versuchen",
    "without_link": "Ohne diesen Link fortfahren",
    "sign_in": "Anmelden",
}

FRENCH: PageTexts = {
    "used": (
        "Ce lien ne fonctionne plus",
        (
            "Il a déjà été utilisé ou il a expiré. Veuillez retourner à la page d’où vous "
            "venez et réessayer depuis celle-ci. Si vous ne la retrouvez pas, demandez un "
            "nouveau lien."
        ),
    ),
    "no_account": (
        "Vous n’avez pas de compte ici",
        (
            "Votre session est ouverte sur l’autre site, mais aucun compte ne vous correspond "
            "sur celui-ci. Si vous pensiez en avoir un, veuillez contacter l’assistance de ce "
            "site."
        ),
    ),
    "not_signed_in": (
        "Vous n’avez pas ouvert de session",
        ("Veuillez d’abord ouvrir une session sur ce site, puis ouvrir de nouveau le lien."),
    ),
    "session_ended": (
        "Veuillez vous reconnecter",
        (
            "Votre session a pris fin avant l’ouverture de ce lien. Veuillez vous reconnecter, "
            "puis ouvrir un nouveau lien."
        ),
    ),
    "refused": (
        "Cette demande a été refusée",
        (
            "Pour votre sécurité, ce site n’a pas accepté la demande, et aucune connexion n’a "
            "été effectuée."
        ),
    ),
    "too_many": (
        "Trop de tentatives",
        (
            "Trop de liens ont été ouverts depuis votre réseau en peu de temps. Veuillez patienter "
            "un instant, puis recharger cette page. Votre lien n’a pas été utilisé."
        ),
    ),
    "unavailable": (
        "Veuillez réessayer dans un instant",
        (
            "La connexion n’a pas fonctionné cette fois-ci. Veuillez patienter un instant, "
            "puis recharger cette page. Si cela ne suffit pas, demandez un nouveau lien."
        ),
    ),
    "continue_to": (
        "Continuer vers {host}",
        (
            "Ce lien mène à un autre site, qui ouvrira une session à votre nom. Si vous ne vous y "
            "attendiez pas, veuillez fermer cette page."
        ),
    ),
    "handoff_failed": (
        "La connexion n’a pas abouti",
        (
            "La connexion par l’intermédiaire d’un autre site n’a pas fonctionné. Veuillez "
            "réessayer. Si cela ne suffit pas, autorisez les cookies de ce site dans votre "
            "navigateur, ou contactez son assistance."
        ),
    ),
    "confirm": (
        "Confirmez votre connexion",
        (
            "Appuyez sur le bouton pour vous connecter. Si vous n’avez pas demandé ce lien, "
            "fermez cette page. Aucune connexion n’a encore été effectuée."
        ),
    ),
    "confirm_again": (
        "La connexion n’a pas été effectuée, car cette page est restée ouverte trop longtemps"
        " ou votre navigateur bloque les cookies. Veuillez appuyer de nouveau sur le bouton."
    ),
    "switch": (
        "Changement d’utilisateur",
        (
            "Vous êtes déjà connecté à ce site, et ce lien est destiné à un autre utilisateur. Si "
            "vous ne savez pas d’où vient ce lien, conservez votre session actuelle."
        ),
    ),
    "switch_names": (
        "Vous êtes connecté en tant que {present}. Ce lien est destiné à {arriving}. Si vous ne "
        "savez pas d’où vient ce lien, conservez votre session actuelle."
    ),
    "switch_user": "Changer d’utilisateur",
    "stay": "Rester connecté",
    "cookies_blocked": (
        "Les cookies sont bloqués",
        (
            "Ce site a besoin d’un cookie pour vous connecter. Veuillez autoriser les cookies "
            "de ce site dans votre navigateur, puis réessayer."
        ),
    ),
    "one_moment": "Un instant, s’il vous plaît",
    "proceed": "Continuer",
    "try_again": "Réessayer",
    "without_link": "Continuer sans ce lien",
    "sign_in": "Se connecter",
}

SPANISH: PageTexts = {
    "used": (
        "Este enlace ya no funciona",
        (
            "Ya se ha utilizado o ha caducado. Vuelva a la página de la que viene e inténtelo "
            "de nuevo desde allí. Si no la encuentra, solicite un enlace nuevo."
        ),
    ),
    "no_account": (
        "No tiene una cuenta aquí",
        (
            "Ha iniciado sesión en el otro sitio, pero en este no hay ninguna cuenta para "
            "usted. Si esperaba tener una, póngase en contacto con el servicio de asistencia "
            "de este sitio."
        ),
    ),
    "not_signed_in": (
        "No ha iniciado sesión",
        ("Inicie sesión primero en este sitio y, después, vuelva a abrir el enlace."),
    ),
    "session_ended": (
        "Inicie sesión de nuevo",
        (
            "Su sesión terminó antes de que se abriera este enlace. Inicie sesión de nuevo y, "
            "después, abra un enlace nuevo."
        ),
    ),
    "refused": (
        "Se ha rechazado esta solicitud",
        (
            "Por su seguridad, este sitio no ha aceptado la solicitud y no se ha iniciado "
            "ninguna sesión."
        ),
    ),
    "too_many": (
        "Demasiados intentos",
        (
            "Se han abierto demasiados enlaces desde su red en poco tiempo. Espere un poco y "
            "vuelva a cargar esta página. Su enlace no se ha utilizado."
        ),
    ),
    "unavailable": (
        "Inténtelo de nuevo en unos instantes",
        (
            "En este momento no se ha podido iniciar la sesión. Espere un poco y vuelva a "
            "cargar esta página. Si no funciona, solicite un enlace nuevo."
        ),
    ),
    "continue_to": (
        "Continuar a {host}",
        (
            "Este enlace lleva a otro sitio, en el que se iniciará sesión con su usuario de aquí. "
            "Si no lo esperaba, cierre esta página."
        ),
    ),
    "handoff_failed": (
        "No se ha iniciado la sesión",
        (
            "No se ha podido iniciar la sesión a través de otro sitio. Inténtelo de nuevo. Si no "
            "funciona, permita las cookies de este sitio en su navegador o póngase en contacto con "
            "su servicio de asistencia."
        ),
    ),
    "confirm": (
        "¿Quiere iniciar sesión?",
        (
            "Pulse el botón para iniciar sesión. Si no ha solicitado este enlace, cierre esta "
            "página: todavía no se ha iniciado ninguna sesión."
        ),
    ),
    "confirm_again": (
        "No se ha iniciado la sesión: esta página ha estado abierta demasiado tiempo, o su "
        "navegador bloquea las cookies. Pulse el botón de nuevo."
    ),
    "switch": (
        "¿Cambiar de usuario?",
        (
            "Ya ha iniciado sesión en este sitio, y este enlace es para otro usuario. Si no sabe "
            "de dónde viene el enlace, mantenga su sesión actual."
        ),
    ),
    "switch_names": (
        "Ha iniciado sesión como {present}. Este enlace es para {arriving}. Si no sabe de dónde "
        "viene el enlace, mantenga su sesión actual."
    ),
    "switch_user": "Cambiar de usuario",
    "stay": "Mantener la sesión",
    "cookies_blocked": (
        "Las cookies están bloqueadas",
        (
            "Este sitio necesita una cookie para iniciar su sesión. Permita las cookies de "
            "este sitio en su navegador y vuelva a intentarlo."
        ),
    ),
    "one_moment": "Un momento, por favor",
    "proceed": "Continuar",
    "try_again": "Intentar de nuevo",
    "without_link": "Continuar sin este enlace",
    "sign_in": "Iniciar sesión",
}

JAPANESE: PageTexts = {
    "used": (
        "このリンクは使用できなくなりました",
        (
            "すでに使用されたか、有効期限が切れています。元のページに戻って、もう一度お試しください。"
            "元のページが見つからない場合は、新しいリンクを取得してください。"
        ),
    ),
    "no_account": (
        "このサイトにはアカウントがありません",
        (
            "元のサイトにはログインしていますが、このサイトにお客様のアカウントが見つかりませんでした。"
            "アカウントをお持ちのはずの場合は、このサイトのサポートにお問い合わせください。"
        ),
    ),
    "not_signed_in": (
        "ログインしていません",
        ("先にこのサイトにログインしてから、もう一度リンクを開いてください。"),
    ),
    "session_ended": (
        "もう一度ログインしてください",
        (
            "このリンクを開く前に、セッションが終了しました。もう一度ログインしてから、"
            "新しいリンクを開いてください。"
        ),
    ),
    "refused": (
        "リクエストは拒否されました",
        "安全のため、このサイトはリクエストを受け付けませんでした。ログインは行われていません。",
    ),
    "too_many": (
        "試行回数が多すぎます",
        (
            "お使いのネットワークから、短時間に多くのリンクが開かれました。少し待ってから、"
            "このページを再読み込みしてください。リンクはまだ使用されていません。"
        ),
    ),
    "unavailable": (
        "しばらくしてからもう一度お試しください",
        (
            "ただいまログインできませんでした。少し待ってから、このページを再読み込みしてください。"
            "それでもうまくいかない場合は、新しいリンクを取得してください。"
        ),
    ),
    "continue_to": (
        "{host} に進む",
        (
            "このリンクは別のサイトに移動し、このサイトのユーザーとしてログインします。"
            "心当たりがない場合は、このページを閉じてください。"
        ),
    ),
    "handoff_failed": (
        "ログインできませんでした",
        (
            "別のサイトを通じたログインができませんでした。もう一度お試しください。"
            "それでもうまくいかない場合は、ブラウザーでこのサイトの Cookie を許可するか、"
            "このサイトのサポートにお問い合わせください。"
        ),
    ),
    "confirm": (
        "ログインの確認",
        (
            "ボタンを押すとログインします。このリンクに心当たりがない場合は、"
            "このページを閉じてください。まだログインは行われていません。"
        ),
    ),
    "confirm_again": (
        "ログインは行われていません。このページを長い時間開いたままだったか、"
        "ブラウザーで Cookie がブロックされています。もう一度ボタンを押してください。"
    ),
    "switch": (
        "ユーザーを切り替えますか？",
        (
            "このサイトにはすでにログインしていますが、このリンクは別のユーザー用です。"
            "リンクの送信元に心当たりがない場合は、現在のログイン状態を維持してください。"
        ),
    ),
    "switch_names": (
        "現在 {present} としてログインしています。"
        "このリンクは {arriving} 用です。リンクの送信元に心当たりがない場合は、"
        "現在のログイン状態を維持してください。"
    ),
    "switch_user": "ユーザーを切り替える",
    "stay": "このままログインを維持",
    "cookies_blocked": (
        "Cookie がブロックされています",
        (
            "ログインするには、このサイトの Cookie が必要です。ブラウザーでこのサイトの "
            "Cookie を許可してから、もう一度お試しください。"
        ),
    ),
    "one_moment": "しばらくお待ちください",
    "proceed": "続ける",
    "try_again": "もう一度試す",
    "without_link": "このリンクを使わずに続ける",
    "sign_in": "ログイン",
}
