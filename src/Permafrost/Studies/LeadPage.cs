using System.Globalization;
using System.Text;

namespace Permafrost.Studies;

/// <summary>A report's opening as HTML. Bars are SVG with widths in percent, since the page's policy knows no style of an element's own.</summary>
internal static class LeadPage
{
    // As many as report.css has.
    private const int Colours = 6;

    public static string Html(ReportLead lead)
    {
        var html = new StringBuilder();
        Table(html, lead);
        Picture(html, lead);
        html.Append("<ul class=\"lead-findings\">\n");
        foreach (string finding in lead.Findings) html.Append($"<li>{ReportPage.Text(finding)}</li>\n");
        html.Append("</ul>\n");
        Examples(html, lead);
        foreach (string note in lead.Notes) html.Append($"<p class=\"note\">{ReportPage.Text(note)}</p>\n");
        return html.ToString();
    }

    private static void Table(StringBuilder html, ReportLead lead)
    {
        html.Append("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Result\"><table class=\"lead\"><thead><tr><th scope=\"col\">Task</th>");
        foreach (string arm in lead.Arms) html.Append($"<th scope=\"col\" class=\"number\">{ReportPage.Text(arm)}</th>");
        html.Append("<th scope=\"col\">Beside it</th></tr></thead><tbody>\n");
        foreach (LeadRow row in lead.Rows)
        {
            html.Append($"<tr><th scope=\"row\">{ReportPage.Text(row.Name)}<small>{ReportPage.Text(row.Under)}</small></th>");
            foreach (LeadScore score in row.Scores)
            {
                html.Append($"<td class=\"number\" data-label=\"{ReportPage.Text(score.Arm)}\">");
                html.Append($"<b>{ReportPage.Text(score.Text)}</b><small>{ReportPage.Text(score.Under)}</small></td>");
            }
            html.Append("<td class=\"baselines\" data-label=\"Beside it\">");
            foreach ((string name, double share) in row.Baselines) html.Append($"<div class=\"baseline\"><b>{Headline.Percent(share)}</b> {ReportPage.Text(name)}</div>");
            html.Append("</td></tr>\n");
        }
        html.Append("</tbody></table></div>\n");
    }

    // A group of bars for each task, with a whisker of one standard error to either side and a mark where the best baseline is.
    private static void Picture(StringBuilder html, ReportLead lead)
    {
        string described = string.Join("; ", lead.Rows.Select(row => $"{row.Name}: {string.Join(", ", row.Scores.Select(score => $"{score.Arm} {score.Text}"))}"));
        html.Append($"<div class=\"lead-bars\" role=\"img\" aria-label=\"{ReportPage.Text(described)}\">\n");
        foreach (LeadRow row in lead.Rows)
        {
            html.Append($"<div class=\"lead-group\"><h3>{ReportPage.Text(row.Name)}</h3>\n");
            foreach ((int i, LeadScore score) in row.Scores.Index())
            {
                html.Append($"<div class=\"lead-bar\"><span class=\"lead-name\">{ReportPage.Text(score.Arm)}</span><svg class=\"lead-track\" aria-hidden=\"true\">");
                html.Append($"<rect class=\"lead-fill f{i % Colours}\" x=\"0\" y=\"0\" width=\"{Percent(score.Share)}\" height=\"100%\"/>");
                if (score.Error > 0)
                    html.Append($"<line class=\"lead-whisker\" x1=\"{Percent(score.Share - score.Error)}\" x2=\"{Percent(score.Share + score.Error)}\" y1=\"50%\" y2=\"50%\"/>");
                if (row.Baselines is [(_, double best), ..]) html.Append($"<line class=\"lead-mark\" x1=\"{Percent(best)}\" x2=\"{Percent(best)}\" y1=\"0\" y2=\"100%\"/>");
                html.Append($"</svg><span class=\"lead-value\">{ReportPage.Text(score.Text)}</span></div>\n");
            }
            if (row.Baselines is [(string name, double share), ..]) html.Append($"<p class=\"lead-key\">dashed: {ReportPage.Text(name)}, {Headline.Percent(share)}</p>\n");
            html.Append("</div>\n");
        }
        html.Append("</div>\n");
    }

    private static void Examples(StringBuilder html, ReportLead lead)
    {
        if (lead.Examples.Count == 0) return;
        html.Append($"<h3>{ReportPage.Text(lead.ExamplesTitle)}</h3>\n<ul class=\"examples\">\n");
        foreach ((string example, string answer, bool right) in lead.Examples)
            html.Append($"<li{(right ? "" : " class=\"miss\"")}><b>{ReportPage.Text(example)}</b> {ReportPage.Text(answer)}</li>\n");
        html.Append("</ul>\n");
    }

    private static string Percent(double share) => (100 * Math.Clamp(share, 0, 1)).ToString("0.##", CultureInfo.InvariantCulture) + "%";
}
