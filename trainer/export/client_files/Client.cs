// Labels pictures with the model.onnx that lies one folder up.
//
//   dotnet run -- PICTURE ...     the label and probability of each
//   dotnet run -- --check         compares with golden.json; exits with 1 if it is not met
//
// Run it in this folder. What the network wants stands in about.json. Pictures are shrunk and
// stretched as OpenCV's cv2.resize does: INTER_AREA in float32, INTER_LINEAR with weights of 11 bits.
// h, w are the sides of a picture as it comes; H, W, C the shape that the network takes; K labels.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using SixLabors.ImageSharp;
using SixLabors.ImageSharp.PixelFormats;
using SixLabors.ImageSharp.Processing;

/// <summary>RGB bytes, row by row.</summary>
public sealed record Picture(int Height, int Width, byte[] Pixels);

/// <summary>What the file says of itself, as far as it is needed here.</summary>
public sealed record About(
    string Task, string[] Labels, float[] Thresholds, int Height, int Width, int Channels,
    string Fit, string Resize)
{
    public static About Read(string path)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        JsonElement root = document.RootElement;
        JsonElement size = root.GetProperty("image_size");
        return new About(
            root.GetProperty("task").GetString()!,
            root.GetProperty("labels").EnumerateArray().Select(each => each.GetString()!).ToArray(),
            root.GetProperty("thresholds").EnumerateArray().Select(each => each.GetSingle()).ToArray(),
            size[0].GetInt32(), size[1].GetInt32(), root.GetProperty("channels").GetInt32(),
            root.GetProperty("fit").GetString()!, root.GetProperty("resize").GetString()!);
    }

    /// <summary>The most probable label; where several may hold, all from their thresholds on.</summary>
    public string Label(float[] probabilities)
    {
        if (Task == "single_label")
        {
            return Labels[Array.IndexOf(probabilities, probabilities.Max())];
        }
        IEnumerable<string> holding =
            Labels.Where((_, index) => probabilities[index] >= Thresholds[index]);
        string said = string.Join("|", holding);
        return said.Length > 0 ? said : "-";
    }
}

/// <summary>From a picture to the pixels that the network sees.</summary>
public static class Preprocessing
{
    /// <summary>Upright RGB; alpha is dropped.</summary>
    public static Picture Decode(string path)
    {
        using Image<Rgb24> image = Image.Load<Rgb24>(path);
        image.Mutate(context => context.AutoOrient());
        byte[] pixels = new byte[image.Height * image.Width * 3];
        image.CopyPixelDataTo(pixels);
        return new Picture(image.Height, image.Width, pixels);
    }

    /// <summary>[H, W, C]: `crop` cuts the longer side equally at both ends, `pad` adds black there,
    /// `stretch` changes the shape.</summary>
    public static byte[] Present(Picture picture, About about)
    {
        int height = about.Height, width = about.Width, h = picture.Height, w = picture.Width;
        int innerHeight = height, innerWidth = width;
        if (about.Fit == "crop")
        {
            double ratio = (double)height / width;
            int rows = Math.Min(h, Math.Max(1, ToEven(w * ratio)));
            int columns = Math.Min(w, Math.Max(1, ToEven(h / ratio)));
            picture = Cut(picture, rows, columns);
        }
        if (about.Fit == "pad")
        {
            double scale = Math.Min((double)height / h, (double)width / w);
            innerHeight = Math.Max(1, Math.Min(height, ToEven(h * scale)));
            innerWidth = Math.Max(1, Math.Min(width, ToEven(w * scale)));
        }
        byte[] small = Resize(picture, innerHeight, innerWidth, about.Resize);
        byte[] result = new byte[height * width * 3];
        int top = (height - innerHeight) / 2, left = (width - innerWidth) / 2;
        for (int y = 0; y < innerHeight; y++)
        {
            Array.Copy(small, y * innerWidth * 3,
                result, ((top + y) * width + left) * 3, innerWidth * 3);
        }
        return about.Channels == 1 ? Grey(result) : result;
    }

    private static Picture Cut(Picture picture, int height, int width)
    {
        int top = (picture.Height - height) / 2, left = (picture.Width - width) / 2;
        byte[] pixels = new byte[height * width * 3];
        for (int y = 0; y < height; y++)
        {
            Array.Copy(picture.Pixels, ((top + y) * picture.Width + left) * 3,
                pixels, y * width * 3, width * 3);
        }
        return new Picture(height, width, pixels);
    }

    private static byte[] Grey(byte[] rgb)
    {
        byte[] result = new byte[rgb.Length / 3];
        for (int i = 0; i < result.Length; i++)
        {
            int weighed = 9798 * rgb[3 * i] + 19235 * rgb[3 * i + 1] + 3735 * rgb[3 * i + 2];
            result[i] = (byte)((weighed + 16384) >> 15);  // of 32768: 0.299, 0.587, 0.114
        }
        return result;
    }

    /// <summary>Stretched; `area` is for pictures that shrink, others are bilinear.</summary>
    private static byte[] Resize(Picture picture, int height, int width, string method)
    {
        int h = picture.Height, w = picture.Width;
        if (h == height && w == width)
        {
            return picture.Pixels;
        }
        double down = 1 / ((double)height / h), across = 1 / ((double)width / w);
        bool whole = down == Math.Floor(down) && across == Math.Floor(across);
        if (method == "area" && height <= h && width <= w)
        {
            return whole
                ? Blocks(picture, (int)down, (int)across)
                : Area(picture, height, width);
        }
        return whole && down == 2 && across == 2
            ? Blocks(picture, 2, 2)
            : Linear(picture, height, width);
    }

    /// <summary>Means of whole blocks of pixels.</summary>
    private static byte[] Blocks(Picture picture, int down, int across)
    {
        int w = picture.Width, height = picture.Height / down, width = w / across;
        float share = (float)(1.0 / (down * across));
        byte[] result = new byte[height * width * 3];
        for (int y = 0, to = 0; y < height; y++)
        {
            for (int at = 0; at < width * 3; at++, to++)
            {
                int left = at / 3 * across, channel = at % 3, sum = 0;
                for (int row = y * down; row < (y + 1) * down; row++)
                {
                    for (int x = left; x < left + across; x++)
                    {
                        sum += picture.Pixels[(row * w + x) * 3 + channel];
                    }
                }
                result[to] = down == 2 && across == 2
                    ? (byte)((sum + 2) >> 2)
                    : Rounded((float)sum * share);
            }
        }
        return result;
    }

    /// <summary>Means of cells that may cut pixels, added in OpenCV's order.</summary>
    private static byte[] Area(Picture picture, int height, int width)
    {
        int h = picture.Height, w = picture.Width, length = width * 3;
        List<(int Index, float Weight)>[] columns = Cells(w, width), rows = Cells(h, height);
        float[] wide = new float[h * length];
        for (int y = 0, to = 0; y < h; y++)
        {
            foreach (List<(int Index, float Weight)> taps in columns)
            {
                for (int channel = 0; channel < 3; channel++, to++)
                {
                    foreach ((int x, float weight) in taps)
                    {
                        wide[to] += picture.Pixels[(y * w + x) * 3 + channel] * weight;
                    }
                }
            }
        }
        byte[] result = new byte[height * length];
        for (int y = 0; y < height; y++)
        {
            for (int at = 0; at < length; at++)
            {
                float sum = 0;
                foreach ((int row, float weight) in rows[y])
                {
                    sum += wide[row * length + at] * weight;
                }
                result[y * length + at] = Rounded(sum);
            }
        }
        return result;
    }

    /// <summary>For each of `size` cells, the pixels of `count` that it covers.</summary>
    private static List<(int Index, float Weight)>[] Cells(int count, int size)
    {
        double scale = 1 / ((double)size / count);
        var result = new List<(int Index, float Weight)>[size];
        for (int cell = 0; cell < size; cell++)
        {
            double start = cell * scale, end = start + scale;
            double width = Math.Min(scale, count - start);
            int last = Math.Min((int)Math.Floor(end), count - 1);
            int first = Math.Min((int)Math.Ceiling(start), last);
            var taps = new List<(int Index, float Weight)>();
            if (first - start > 1e-3)
            {
                taps.Add((first - 1, (float)((first - start) / width)));
            }
            for (int index = first; index < last; index++)
            {
                taps.Add((index, (float)(1 / width)));
            }
            if (end - last > 1e-3)
            {
                taps.Add((last, (float)(Math.Min(Math.Min(end - last, 1), width) / width)));
            }
            result[cell] = taps;
        }
        return result;
    }

    private static byte[] Linear(Picture picture, int height, int width)
    {
        int h = picture.Height, w = picture.Width, length = width * 3;
        Neighbours[] columns = Between(w, width, true), rows = Between(h, height, false);
        int[] wide = new int[h * length];
        for (int y = 0, to = 0; y < h; y++)
        {
            foreach (Neighbours pair in columns)
            {
                for (int channel = 0; channel < 3; channel++, to++)
                {
                    wide[to] = picture.Pixels[(y * w + pair.First) * 3 + channel] * pair.Least
                        + picture.Pixels[(y * w + pair.Second) * 3 + channel] * pair.Most;
                }
            }
        }
        byte[] result = new byte[height * length];
        for (int y = 0; y < height; y++)
        {
            Neighbours pair = rows[y];
            for (int at = 0; at < length; at++)
            {
                int above = ((wide[pair.First * length + at] >> 4) * pair.Least) >> 16;
                int below = ((wide[pair.Second * length + at] >> 4) * pair.Most) >> 16;
                result[y * length + at] = (byte)Math.Clamp((above + below + 2) >> 2, 0, 255);
            }
        }
        return result;
    }

    private readonly record struct Neighbours(int First, int Second, int Least, int Most);

    /// <summary>For each pixel, the two that it lies between and their weights of 2048.</summary>
    private static Neighbours[] Between(int count, int size, bool across)
    {
        double scale = 1 / ((double)size / count);
        var result = new Neighbours[size];
        for (int place = 0; place < size; place++)
        {
            float exact = (float)((place + 0.5) * scale - 0.5);
            int first = (int)Math.Floor(exact);
            // OpenCV lets go of the fraction at the sides, at top and bottom it does not
            float part = across && (first < 0 || first >= count - 1) ? 0f : exact - first;
            result[place] = new Neighbours(
                Math.Clamp(first, 0, count - 1), Math.Clamp(first + 1, 0, count - 1),
                ToEven((1f - part) * 2048f), ToEven(part * 2048f));
        }
        return result;
    }

    /// <summary>Rounded, halves to the even neighbour.</summary>
    private static int ToEven(double value) => (int)Math.Round(value, MidpointRounding.ToEven);

    private static byte Rounded(float value) => (byte)Math.Clamp(ToEven(value), 0, 255);
}

/// <summary>The command line.</summary>
public static class Program
{
    public static int Main(string[] arguments)
    {
        if (arguments.Length == 0)
        {
            Console.Error.WriteLine("dotnet run -- PICTURE ... | --check");
            return 1;
        }
        About about = About.Read("about.json");
        using var session = new InferenceSession(Path.Combine("..", "model.onnx"));
        if (arguments[0] == "--check")
        {
            return Check(session, about) ? 0 : 1;
        }
        foreach (string path in arguments)
        {
            byte[] pixels = Preprocessing.Present(Preprocessing.Decode(path), about);
            float[] probabilities = Probabilities(session, pixels, about);
            Console.WriteLine(
                $"{path}  {about.Label(probabilities)}  {probabilities.Max():F4}");
        }
        return 0;
    }

    /// <summary>[K] of pixels [H, W, C].</summary>
    private static float[] Probabilities(InferenceSession session, byte[] pixels, About about)
    {
        int[] shape = { 1, about.Height, about.Width, about.Channels };
        var image = NamedOnnxValue.CreateFromTensor("image", new DenseTensor<byte>(pixels, shape));
        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> results =
            session.Run(new[] { image }, new[] { "probabilities" });
        return results.First().AsEnumerable<float>().ToArray();
    }

    /// <summary>Whether pixels differ by at most one grey level from golden.json's (decoders and
    /// OpenCV's own builds may), and probabilities by at most its tolerance.</summary>
    private static bool Check(InferenceSession session, About about)
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText("golden.json"));
        double tolerance = golden.RootElement.GetProperty("tolerance").GetDouble();
        bool good = true;
        foreach (JsonElement each in golden.RootElement.GetProperty("pictures").EnumerateArray())
        {
            string name = each.GetProperty("picture").GetString()!;
            byte[] pixels = Preprocessing.Present(Preprocessing.Decode(name), about);
            byte[] seen = Preprocessing.Decode(each.GetProperty("pixels").GetString()!).Pixels;
            byte[] expected = seen.Where((_, i) => about.Channels == 3 || i % 3 == 0).ToArray();
            int levels = pixels.Zip(expected, (one, other) => Math.Abs(one - other)).Max();
            float[] probabilities = Probabilities(session, pixels, about);
            double difference = each.GetProperty("probabilities").EnumerateArray()
                .Select((value, index) => Math.Abs(value.GetDouble() - probabilities[index])).Max();
            bool met = pixels.Length == expected.Length && levels <= 1 && difference <= tolerance;
            Console.WriteLine(
                $"{name}  {about.Label(probabilities)}  pixels differ by {levels},"
                + $" probabilities by {difference:E1}{(met ? "" : "  NOT MET")}");
            good = good && met;
        }
        return good;
    }
}
